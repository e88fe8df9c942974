"""Which decoder, and its options."""

from __future__ import annotations

import math
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
MAX_WEIGHT = 100.0


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
        beam_threshold: beam search drops prefixes that score this much less than the best one, in
            natural logarithm; None: it drops none for that.
        lm_weight: beam search weights the language model's log-probabilities by it, if there is a
            model; 0 leaves it out.
        word_bonus, token_bonus: beam search adds them for each word and each token, since language
            models prefer few.
        unknown_penalty: what beam search subtracts for each word outside the lexicon, which is that
            of the language model unless one is given; None: there are no such words.
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
    beam_threshold: float | None = 20.0
    lm_weight: float = 0.5
    word_bonus: float = 0.0
    token_bonus: float = 0.0
    unknown_penalty: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise DecodingError(
                f"unknown decoder {self.name!r}", remedy=f"choose one of {', '.join(NAMES)}"
            )
        self._check_graph()
        most = self.beam_width if self.name == "beam" else MAX_BEAM_WIDTH
        self._check_integer("beam_width", MAX_BEAM_WIDTH)
        self._check_integer("alternatives", most, ", no more than the beam is wide")
        self._check_integer("max_expansions", MAX_EXPANSIONS)
        self._check_number(
            "token_min_log_prob", -math.inf, 0.0, "a natural logarithm of a probability, 0 or less"
        )
        self._check_number(
            "blank_threshold", 0.5, 1.0, "a probability from 0.5 to 1.0; 1.0 makes no sections"
        )
        self._check_number("lm_weight", 0.0, MAX_WEIGHT, f"a number from 0 to {MAX_WEIGHT:g}")
        for name in ("word_bonus", "token_bonus"):
            self._check_number(
                name, -MAX_WEIGHT, MAX_WEIGHT, f"a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            )
        if self.beam_threshold is not None:
            self._check_number("beam_threshold", 0.0, 1e9, "a number, 0 or more, or None")
        if self.unknown_penalty is not None:
            self._check_number("unknown_penalty", 0.0, 1e3, "a number from 0 to 1000, or None")

    def _check_integer(self, name: str, most: int, more: str = "", least: int = 1) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise DecodingError(
                f"{name} is {value!r}", remedy=f"give an integer from {least} to {most}{more}"
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
        self._check_number("acoustic_scale", 0.01, 100.0, "a number from 0.01 to 100")
        self._check_number("search_beam", 0.1, 1000.0, "a number from 0.1 to 1000")
        self._check_integer("max_active", MAX_ACTIVE, least=2)

    def _check_number(self, name: str, least: float, most: float, what: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise DecodingError(f"{name} is {value!r}", remedy=f"give {what}")

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
