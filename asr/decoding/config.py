"""Which decoder, and its options: one class a decoder, plain values in bundles.

Each field says what it is for, and its place on the command line, in its metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeAlias

from asr.options import from_values
from asr.types import DecodingError

__all__ = [
    "MAX_BEAM_WIDTH",
    "NAMES",
    "OPTIONS",
    "BeamOptions",
    "DecoderOptions",
    "GreedyOptions",
    "PrefixOptions",
    "WfstOptions",
    "plain_values",
    "read_options",
]

MAX_BEAM_WIDTH = 1024
MAX_EXPANSIONS = 100_000
MAX_ACTIVE = 30_000  # more would make frames so long that a search could not be stopped at once
MAX_WEIGHT = 100.0
EVERY_TOKEN = -1e9  # as good as minus infinity, which JSON has not
MAX_PRIOR_WEIGHT = 2.0


def _option(default: Any, metavar: str, text: str) -> Any:
    """A field with its help and its kind, which is that of the default unless that is None."""
    kind = float if default is None else type(default)
    return field(default=default, metadata={"help": text, "metavar": metavar, "kind": kind})


NBEST = "hypotheses to give at most"


def _prior_weight() -> Any:
    return _option(
        0.0, "W", "how far each token's prior, which the bundle has, is divided out; 0 leaves it in"
    )


@dataclass(frozen=True)
class GreedyOptions:
    """The best token of each frame. There is nothing to choose."""

    name: ClassVar[str] = "greedy"
    nbest: ClassVar[int] = 1
    prior_weight: ClassVar[float] = 0.0


@dataclass(frozen=True)
class BeamOptions:
    """Search over prefixes that keeps the likely ones after each frame.

    All scores and thresholds are natural logarithms, and scores are added. ``unk_score`` None means
    that there are no words outside the lexicon, ``beam_threshold`` None that none are dropped for
    their score; minus infinity and infinity say the same, and are kept as None, since JSON has no
    infinite numbers.
    """

    name: ClassVar[str] = "beam"
    beam_width: int = _option(16, "K", "prefixes kept after each frame")
    nbest: int = _option(1, "N", NBEST)
    token_min_log_prob: float = _option(
        -8.0,
        "X",
        "try tokens only that are at least this probable in a frame, and the best one; -inf: all",
    )
    beam_threshold: float | None = _option(
        20.0, "X", "drop prefixes that score this much less than the best; inf: none"
    )
    lm_weight: float = _option(0.5, "W", "weight of the language model; 0 leaves it out")
    word_score: float = _option(0.0, "X", "added for each word")
    token_score: float = _option(0.0, "X", "added for each token")
    unk_score: float | None = _option(
        None,
        "X",
        "added for each word outside the lexicon, 0 or less; -inf, the default: there are none",
    )
    prior_weight: float = _prior_weight()

    def __post_init__(self) -> None:
        for name, endless in (("beam_threshold", math.inf), ("unk_score", -math.inf)):
            if getattr(self, name) == endless:
                object.__setattr__(self, name, None)
        if self.token_min_log_prob == -math.inf:
            object.__setattr__(self, "token_min_log_prob", EVERY_TOKEN)
        _check_integer(self, "beam_width", MAX_BEAM_WIDTH)
        _check_integer(self, "nbest", self.beam_width, ", no more than the beam is wide")
        _check_number(
            self,
            "token_min_log_prob",
            -math.inf,
            0.0,
            "a natural logarithm of a probability, 0 or less",
        )
        _check_number(self, "lm_weight", 0.0, MAX_WEIGHT, f"a number from 0 to {MAX_WEIGHT:g}")
        _check_prior_weight(self)
        for name in ("word_score", "token_score"):
            what = f"a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            _check_number(self, name, -MAX_WEIGHT, MAX_WEIGHT, what)
        if self.beam_threshold is not None:
            _check_number(self, "beam_threshold", 0.0, 1e9, "a number, 0 or more, or None")
        if self.unk_score is not None:
            _check_number(self, "unk_score", -1e3, 0.0, "a number from -1000 to 0, or None")


@dataclass(frozen=True)
class PrefixOptions:
    """Best-first search over prefixes (Graves et al. 2006, section 3.2)."""

    name: ClassVar[str] = "prefix"
    nbest: int = _option(1, "N", NBEST)
    blank_threshold: float = _option(
        0.9999, "P", "sections end where a blank is more probable; 1.0 makes no sections"
    )
    max_expansions: int = _option(
        1000, "N", "prefixes extended in a section at most, each at a cost of the section's frames"
    )
    prior_weight: float = _prior_weight()

    def __post_init__(self) -> None:
        _check_integer(self, "nbest", MAX_BEAM_WIDTH)
        _check_integer(self, "max_expansions", MAX_EXPANSIONS)
        what = "a probability from 0.5 to 1.0; 1.0 makes no sections"
        _check_number(self, "blank_threshold", 0.5, 1.0, what)
        _check_prior_weight(self)


@dataclass(frozen=True)
class WfstOptions:
    """Search in a decoding graph, the folder ``graph``. It finds one hypothesis."""

    name: ClassVar[str] = "wfst"
    nbest: ClassVar[int] = 1
    graph: str = _option("", "GRAPH", "folder of the graph, which asr graph made")
    acoustic_scale: float = _option(1.0, "A", "weight of the audio against the words")
    search_beam: float = _option(16.0, "X", "leave states that are this much less probable")
    max_active: int = _option(7000, "N", "states kept after each frame")
    prior_weight: float = _prior_weight()

    def __post_init__(self) -> None:
        if not isinstance(self.graph, str) or not self.graph:
            raise DecodingError(
                f"the graph is {self.graph!r}", remedy="give a folder that asr graph made"
            )
        _check_number(self, "acoustic_scale", 0.01, 100.0, "a number from 0.01 to 100")
        _check_number(self, "search_beam", 0.1, 1000.0, "a number from 0.1 to 1000")
        _check_integer(self, "max_active", MAX_ACTIVE, least=2)
        _check_prior_weight(self)


DecoderOptions: TypeAlias = GreedyOptions | BeamOptions | PrefixOptions | WfstOptions

OPTIONS: dict[str, type[DecoderOptions]] = {
    options.name: options for options in (GreedyOptions, BeamOptions, PrefixOptions, WfstOptions)
}
NAMES = tuple(OPTIONS)

# Bundles from before each decoder had options of its own hold those of all, by these names.
OLD_NAMES = {"alternatives": "nbest", "word_bonus": "word_score", "token_bonus": "token_score"}
OLD_PENALTY = "unknown_penalty"  # what is now added was subtracted then


def plain_values(options: DecoderOptions) -> dict[str, Any]:
    """``options`` and their decoder's name, for JSON."""
    return {"name": options.name, **asdict(options)}


def read_options(values: Mapping[str, Any]) -> DecoderOptions:
    """Inverse of :func:`plain_values`; old bundles' values are understood as well.

    Raises:
        DecodingError: these are not named values, a key is unknown, or a value impossible.
    """
    if not isinstance(values, Mapping):
        raise DecodingError(
            f"decoder options are {values!r}", remedy="give values by name, that of the decoder too"
        )
    name = values.get("name", GreedyOptions.name)
    if not isinstance(name, str) or name not in OPTIONS:
        raise DecodingError(f"unknown decoder {name!r}", remedy=f"choose one of {', '.join(NAMES)}")
    own = {key: value for key, value in values.items() if key != "name"}
    if _is_old(own):
        own = _renewed(own, name)
    return from_values(OPTIONS[name], own, f"{name} decoder", DecodingError)


def _is_old(values: Mapping[str, Any]) -> bool:
    """Whether names are former ones; with present ones beside them they are unknown names."""
    present = {*OLD_NAMES.values(), "unk_score"}
    return bool({*OLD_NAMES, OLD_PENALTY} & values.keys()) and not present & values.keys()


def _renewed(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Old values by their new names, without those of other decoders."""
    renewed = {OLD_NAMES.get(key, key): value for key, value in values.items()}
    penalty = renewed.pop(OLD_PENALTY, None)
    number = isinstance(penalty, (int, float)) and not isinstance(penalty, bool)
    renewed["unk_score"] = -penalty if number else penalty
    others = {f.name for options in OPTIONS.values() for f in fields(options)}
    foreign = others - {f.name for f in fields(OPTIONS[name])}
    return {key: value for key, value in renewed.items() if key not in foreign}


def _check_integer(
    options: DecoderOptions, name: str, most: int, more: str = "", least: int = 1
) -> None:
    value = getattr(options, name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise DecodingError(
            f"{name} is {value!r}", remedy=f"give an integer from {least} to {most}{more}"
        )


def _check_number(options: DecoderOptions, name: str, least: float, most: float, what: str) -> None:
    value = getattr(options, name)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise DecodingError(f"{name} is {value!r}", remedy=f"give {what}")


def _check_prior_weight(options: DecoderOptions) -> None:
    what = f"a number from 0 to {MAX_PRIOR_WEIGHT:g}"
    _check_number(options, "prior_weight", 0.0, MAX_PRIOR_WEIGHT, what)
