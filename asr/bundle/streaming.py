"""How a model is read while someone speaks: what it was trained for, and classes of latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asr.options import from_values
from asr.types import ConfigError

__all__ = ["LATENCIES", "Streaming", "chunks_for", "read_streaming"]

LATENCIES = ("low", "medium", "high")
# Chunk and look-ahead in milliseconds of models that were trained on whole utterances alone. Their
# cost in errors is in docs/streaming.md.
UNTRAINED = {"low": (640.0, 640.0), "medium": (1280.0, 640.0), "high": (1280.0, 1280.0)}
PLACES = {"low": 0.0, "medium": 0.5, "high": 1.0}  # in the ranges that a model was trained with


@dataclass(frozen=True)
class Streaming:
    """The chunks and look-aheads that a model was trained with, in milliseconds.

    Attributes:
        chunk_ms: the shortest and the longest chunk.
        look_ahead_ms: the shortest and the longest look-ahead.
    """

    chunk_ms: tuple[float, float]
    look_ahead_ms: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("chunk_ms", "look_ahead_ms"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (float(low), float(high)))  # JSON has lists
            if not 0.0 <= low <= high < math.inf:
                raise ConfigError(
                    f"{name} is from {low} to {high}", remedy="give two lengths, the shorter first"
                )


def read_streaming(values: Mapping[str, Any]) -> Streaming:
    """What a bundle says in plain values.

    Raises:
        ConfigError: a key is unknown or missing, or a range is none.
    """
    return from_values(Streaming, values, "streaming", ConfigError)


def chunks_for(streaming: Streaming | None, latency: str) -> tuple[float, float]:
    """Chunk and look-ahead in milliseconds for a class of latency.

    Those of a model that was trained for streams are the shortest that it was trained with, the
    middle and the longest; others read further ahead.

    Raises:
        ConfigError: there is no such class.
    """
    if latency not in LATENCIES:
        raise ConfigError(
            f"unknown latency {latency!r}", remedy=f"choose one of {', '.join(LATENCIES)}"
        )
    if streaming is None:
        return UNTRAINED[latency]
    place = PLACES[latency]
    chunk, look_ahead = (
        low + place * (high - low) for low, high in (streaming.chunk_ms, streaming.look_ahead_ms)
    )
    return chunk, look_ahead
