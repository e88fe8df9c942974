"""Which decoder, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asr.options import from_values
from asr.types import DecodingError

__all__ = ["MAX_BEAM_WIDTH", "NAMES", "DecoderConfig"]

NAMES = ("greedy", "beam", "prefix")
MAX_BEAM_WIDTH = 1024
MAX_EXPANSIONS = 100_000


@dataclass(frozen=True)
class DecoderConfig:
    """Options of decoding.

    Attributes:
        name: ``"greedy"`` takes the best token of each frame, ``"beam"`` searches over prefixes
            and keeps the likely ones, ``"prefix"`` searches over prefixes best-first.
        beam_width: K, prefixes kept after each frame; beam search only.
        alternatives: hypotheses to return at most; greedy search has one.
        token_min_log_prob: beam search extends prefixes in a frame only by tokens at least this
            probable (natural logarithm), and by the best one in any case.
        blank_threshold: prefix search takes a frame whose blank is more probable than this for the
            end of a section, as Graves et al. (2006) do; 1.0 searches the utterance as a whole.
        max_expansions: prefixes that prefix search extends in a section at most. An extension costs
            time and memory in proportion to the section's frames.
    """

    name: str = "greedy"
    beam_width: int = 16
    alternatives: int = 1
    token_min_log_prob: float = -8.0
    blank_threshold: float = 0.9999
    max_expansions: int = 1000

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
