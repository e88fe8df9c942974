"""Utterances joined to longer ones, with pauses between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.augment.change import (
    Samples,
    check_least,
    check_probability,
    check_range,
    happens,
)
from asr.augment.silence import faint
from asr.gate import loudest_level
from asr.types import ConfigError

__all__ = ["JoinConfig", "groups_to_join", "join"]

DIGITAL = 0.5  # share of the pauses that are digital silence
LEVEL_DB = (-80.0, -40.0)  # of the noise in the others, below the loudest 50 ms


@dataclass(frozen=True)
class JoinConfig:
    """Utterances of a batch joined to longer ones: all of them, in a share of the batches.

    Attributes:
        max_utterances: how many become one, at most; at least two do.
        min_pause: seconds between them, at least.
        max_pause: seconds between them, at most.
        max_seconds: nothing longer is made.
        probability: share of the batches.
    """

    max_utterances: int = 2
    min_pause: float = 0.1
    max_pause: float = 0.5
    max_seconds: float = 20.0
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_least("join", 2, max_utterances=self.max_utterances)
        check_range("join", 0.0, min_pause=self.min_pause, max_pause=self.max_pause)
        if not self.max_seconds > 0:
            raise ConfigError(
                f"max_seconds is {self.max_seconds}", where="join", remedy="give more than 0"
            )
        check_probability("join", probability=self.probability)


def groups_to_join(
    config: JoinConfig,
    seconds: Sequence[float],
    most: float,
    added: float,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Which utterances of a batch, ``seconds`` long each, become one: lists of their numbers.

    The padded batch is never longer than ``most`` seconds, with the longest of all pauses and with
    ``added`` seconds for what else may be added; where that or ``config.max_seconds`` would be
    passed, fewer are joined, or none.
    """
    alone = [[index] for index in range(len(seconds))]
    if not alone or not happens(config.probability, rng):
        return alone
    for number in range(int(rng.integers(2, config.max_utterances + 1)), 1, -1):
        parts = -(-len(seconds) // number)
        groups = [part.tolist() for part in np.array_split(np.arange(len(seconds)), parts)]
        longest = max(
            sum(seconds[index] for index in group) + (len(group) - 1) * config.max_pause
            for group in groups
        )
        if longest <= config.max_seconds and (longest + added) * parts <= most:
            return groups
    return alone


def join(
    config: JoinConfig, parts: Sequence[Samples], sample_rate: int, rng: np.random.Generator
) -> Samples:
    """``parts (N,)`` in their order with a pause between each two and the next."""
    levels = (loudest_level(part, sample_rate) for part in parts if len(part))
    level = max(levels, default=-math.inf)
    pieces = [parts[0]]
    for part in parts[1:]:
        size = round(rng.uniform(config.min_pause, config.max_pause) * sample_rate)
        pieces += [faint(size, level, DIGITAL, LEVEL_DB, rng), part]
    return np.concatenate(pieces)
