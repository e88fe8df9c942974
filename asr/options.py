"""Option classes from plain values, as they come out of JSON; defaults that many share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, TypeVar

from asr.types import AsrError

__all__ = ["BATCH_SECONDS", "SEGMENT_SECONDS", "from_values", "is_integer", "is_number"]

# Of audio in a batch, its padding counted. On a CPU, batches of 20 to 50 s are the fastest: three
# layers of 192 cells took 3.7 ms for 2.8 s of audio, 6.7 ms in batches of 112 s, 9.7 ms alone.
BATCH_SECONDS = 40.0

SEGMENT_SECONDS = 30.0  # of audio that the network reads at once; what is longer is cut at pauses

Options = TypeVar("Options")


def from_values(
    cls: type[Options], values: Mapping[str, Any], what: str, error: type[AsrError]
) -> Options:
    """Build the dataclass ``cls`` from values by name; ``what`` names them in messages.

    Raises:
        AsrError: of the class ``error``: not a mapping, or a key is unknown or missing. What
            ``cls`` itself refuses passes through.
    """
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise error(
            f"{what} options are {values!r}",
            remedy=f"give values by name: {', '.join(sorted(known))}",
        )
    if unknown := sorted(map(str, set(values) - known)):
        raise error(
            f"unknown {what} options {', '.join(unknown)}",
            remedy=f"known are {', '.join(sorted(known))}",
        )
    try:
        return cls(**values)
    except TypeError as mismatch:
        raise error(f"{what} options do not fit: {mismatch}") from None


def is_integer(value: object) -> bool:
    """Whether an option is a whole number; True and False, which Python counts as 1 and 0, no."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether an option is a number, NaN among them; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
