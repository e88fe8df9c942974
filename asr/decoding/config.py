"""Which decoder, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asr.options import from_values
from asr.types import DecodingError

__all__ = ["MAX_BEAM_WIDTH", "NAMES", "DecoderConfig"]

NAMES = ("greedy", "beam", "prefix", "wfst")
MAX_BEAM_WIDTH = 1024
MAX_EXPANSIONS = 100_000
MAX_ACTIVE = 30_000  # more would make frames so long that a search could not be stopped at once


@dataclass(frozen=True)
class DecoderConfig:
    """Options of decoding.

    Attributes:
        name: ``"greedy"`` takes the best token of each frame, ``"beam"`` searches over prefixes
            and keeps the likely ones, ``"prefix"`` searches over prefixes best-first, ``"wfst"``
            searches in a decoding graph.
        beam_width: K, prefixes kept after each frame; beam search only.
        alternatives: hypotheses to return at most; greedy search has one.
        token_min_log_prob: beam search extends prefixes in a frame only by tokens at least this
            probable (natural logarithm), and by the best one in any case.
        blank_threshold: prefix search takes a frame whose blank is more probable than this for the
            end of a section, as Graves et al. (2006) do; 1.0 searches the utterance as a whole.
        max_expansions: prefixes that prefix search extends in a section at most. An extension costs
            time and memory in proportion to the section's frames.
        graph: folder of the decoding graph; search in a graph only, which needs it.
        acoustic_scale: what the model's log-probabilities are multiplied by before those of words
            are added; search in a graph only.
        search_beam: search in a graph leaves states that are less probable than the best by more
            than this (natural logarithm).
        max_active: states that search in a graph goes on from in a frame at most.
    """

    name: str = "greedy"
    beam_width: int = 16
    alternatives: int = 1
    token_min_log_prob: float = -8.0
    blank_threshold: float = 0.9999
    max_expansions: int = 1000
    graph: str | None = None
    acoustic_scale: float = 1.0
    search_beam: float = 16.0
    max_active: int = 7000

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise DecodingError(
                f"unknown decoder {self.name!r}", remedy=f"choose one of {', '.join(NAMES)}"
            )
        if not _is_integer(self.beam_width) or not 1 <= self.beam_width <= MAX_BEAM_WIDTH:
            raise DecodingError(
                f"beam width is {self.beam_width!r}",
                remedy=f"give an integer from 1 to {MAX_BEAM_WIDTH}",
            )
        self._check_graph()
        most = self.beam_width if self.name == "beam" else MAX_BEAM_WIDTH
        if not _is_integer(self.alternatives) or not 1 <= self.alternatives <= most:
            raise DecodingError(
                f"alternatives is {self.alternatives!r}",
                remedy=f"give an integer from 1 to {most}, no more than the beam is wide",
            )
        if not _is_number(self.token_min_log_prob) or not self.token_min_log_prob <= 0.0:
            raise DecodingError(
                f"token_min_log_prob is {self.token_min_log_prob!r}",
                remedy="give a natural logarithm of a probability, 0 or less",
            )
        if not _is_number(self.blank_threshold) or not 0.5 <= self.blank_threshold <= 1.0:
            raise DecodingError(
                f"blank_threshold is {self.blank_threshold!r}",
                remedy="give a probability from 0.5 to 1.0; 1.0 makes no sections",
            )
        if not _is_integer(self.max_expansions) or not 1 <= self.max_expansions <= MAX_EXPANSIONS:
            raise DecodingError(
                f"max_expansions is {self.max_expansions!r}",
                remedy=f"give an integer from 1 to {MAX_EXPANSIONS}",
            )

    def _check_graph(self) -> None:
        if (self.name == "wfst") != isinstance(self.graph, str):
            raise DecodingError(
                f"the decoder is {self.name!r} and the graph {self.graph!r}",
                remedy="give the decoder wfst a folder that asr graph made, and others none",
            )
        if self.name == "wfst" and self.alternatives != 1:
            raise DecodingError(
                f"alternatives is {self.alternatives!r}, but search in a graph finds one",
                remedy="give 1, or choose beam",
            )
        for name, least, most in (("acoustic_scale", 0.01, 100.0), ("search_beam", 0.1, 1000.0)):
            value = getattr(self, name)
            if not _is_number(value) or not least <= value <= most:
                raise DecodingError(
                    f"{name} is {value!r}", remedy=f"give a number from {least:g} to {most:g}"
                )
        if not _is_integer(self.max_active) or not 2 <= self.max_active <= MAX_ACTIVE:
            raise DecodingError(
                f"max_active is {self.max_active!r}",
                remedy=f"give an integer from 2 to {MAX_ACTIVE}",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DecoderConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            DecodingError: these are not named values, a key is unknown, or a value impossible.
        """
        return from_values(cls, values, "decoder", DecodingError)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
