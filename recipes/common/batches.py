"""Which utterances make up each batch of an epoch.

The plan follows from the manifest, the seed and the epoch alone: an epoch is the same whether the
run was interrupted before it or not, and every epoch has the same number of batches, known before
training.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from lhotse.cut import Cut
from torch.utils.data import Sampler

from asr.types import ConfigError, CorpusError

__all__ = ["BatchLimits", "BatchSampler", "Drawn"]

SEEDS = 2**63  # numpy takes no negative seed


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be: utterances, seconds with padding; groups of like duration."""

    batch_size: int = 16
    batch_seconds: float = 120.0
    num_buckets: int = 8

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_buckets"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy="give 1 or more")
        if not self.batch_seconds > 0:
            raise ConfigError(
                f"batch_seconds is {self.batch_seconds}", remedy="give more than 0 seconds"
            )

    def size(self, seconds: float) -> int:
        """Utterances in a batch whose longest has ``seconds``; at least one."""
        return max(1, min(self.batch_size, math.floor(self.batch_seconds / max(seconds, 1e-3))))


class Drawn(NamedTuple):
    """One batch as the sampler hands it over; ``seed`` and ``epoch`` seed its augmentation."""

    cuts: tuple[Cut, ...]
    seed: int
    epoch: int


@dataclass(frozen=True)
class _Group:
    """Utterances of like duration, shared out over a fixed number of batches."""

    cuts: tuple[Cut, ...]
    batches: int

    @property
    def largest(self) -> int:
        return math.ceil(len(self.cuts) / self.batches)


class BatchSampler(Sampler[Drawn]):
    """Yields the batches of one process in one epoch.

    Utterances are sorted by duration and cut into groups of about equal total duration. Each group
    has a fixed number of batches of equal sizes within ``limits``. With ``shuffle``, an epoch deals
    the utterances of a group anew and takes the batches in a new order.

    Args:
        cuts: the utterances.
        limits: of a batch; an utterance longer than the limit is a batch by itself. Processes that
            one utterance a batch would leave without a batch exceed them by pairs of the shortest.
        stretch: by which factor an utterance may become longer than its cut, played slowly.
        added: how many seconds may then be added to it, as silence.
        shuffle: a new order each epoch; otherwise always the same one.
        seed: of the order.
        rank: of this process among ``world_size``; batch ``i`` goes to process ``i % world_size``.
        world_size: processes; each gets the same number of batches, and none gets another's.

    Raises:
        CorpusError: there are fewer utterances than processes.
    """

    def __init__(
        self,
        cuts: Sequence[Cut],
        limits: BatchLimits,
        *,
        stretch: float = 1.0,
        added: float = 0.0,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(cuts) < world_size:
            raise CorpusError(
                f"{len(cuts)} utterances for {world_size} processes",
                remedy="train with fewer --trainer.devices",
            )
        self.groups = _share_out(_groups(cuts, limits, stretch, added), world_size)
        self.stretch = stretch
        self.added = added
        self.shuffle = shuffle
        self.seed = seed % SEEDS
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._start = (0, 0)

    def largest(self) -> tuple[tuple[Cut, ...], float]:
        """A batch as large as any may be: its utterances, and the seconds that each may have."""
        group = max(self.groups, key=lambda g: g.largest * self._seconds(g.cuts[-1]))
        return group.cuts[-group.largest :], self._seconds(group.cuts[-1])

    def _seconds(self, cut: Cut) -> float:
        """What ``cut`` may become at most."""
        return cut.duration * self.stretch + self.added

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Choose ``epoch``, and leave out its first ``batch`` batches this once."""
        self.epoch = epoch
        self._start = (epoch, batch)

    @cached_property
    def digest(self) -> str:
        """What all epochs' plans follow from, in short: equal ones have the same batches."""
        groups = [[group.batches, [cut.id for cut in group.cuts]] for group in self.groups]
        told = json.dumps([groups, self.shuffle, self.seed, self.world_size])
        return hashlib.sha256(told.encode()).hexdigest()

    def __len__(self) -> int:
        return sum(group.batches for group in self.groups) // self.world_size

    def __iter__(self) -> Iterator[Drawn]:
        epoch = self.epoch
        mine = self._plan(epoch)[self.rank :: self.world_size]
        first = self._start[1] if self._start[0] == epoch else 0
        self._start = (0, 0)
        for cuts in mine[first:]:
            yield Drawn(cuts, self.seed, epoch)

    def _plan(self, epoch: int) -> list[tuple[Cut, ...]]:
        """The epoch's batches, of all processes."""
        rng = np.random.default_rng([self.seed, epoch])
        batches: list[tuple[Cut, ...]] = []
        for group in self.groups:
            order = np.arange(len(group.cuts))
            if self.shuffle:
                rng.shuffle(order)
            parts = np.array_split(order, group.batches)
            batches += [tuple(group.cuts[index] for index in part) for part in parts]
        if self.shuffle:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        return batches


def _groups(cuts: Sequence[Cut], limits: BatchLimits, stretch: float, added: float) -> list[_Group]:
    """Groups of like duration in which no batch can exceed ``limits``."""
    ordered = sorted(cuts, key=lambda cut: cut.duration)
    buckets = max(1, min(limits.num_buckets, len(ordered) // 2))
    share = sum(cut.duration for cut in ordered) / buckets
    keys = []
    elapsed = 0.0
    for cut in ordered:
        # Where the limit of seconds binds, durations in a group differ by no more than about two.
        keys.append(
            (int(elapsed / share), limits.size(cut.duration * stretch + added).bit_length())
        )
        elapsed += cut.duration
    found = []
    for _, members in groupby(zip(keys, ordered, strict=True), key=lambda item: item[0]):
        group = tuple(cut for _, cut in members)
        size = limits.size(group[-1].duration * stretch + added)  # the longest decides
        found.append(_Group(group, math.ceil(len(group) / size)))
    return found


def _share_out(groups: list[_Group], world_size: int) -> list[_Group]:
    """Divide the largest batches until every process gets as many as the others."""
    groups = list(groups)
    while sum(group.batches for group in groups) % world_size:
        index = max(range(len(groups)), key=lambda i: groups[i].largest)
        if groups[index].largest == 1:
            return _pair_the_shortest([cut for group in groups for cut in group.cuts], world_size)
        groups[index] = _Group(groups[index].cuts, groups[index].batches + 1)
    return groups


def _pair_the_shortest(cuts: list[Cut], world_size: int) -> list[_Group]:
    """Batches of one utterance, but for as many pairs of the shortest as leave none over.

    Pairs may exceed the limits: a process without its batch would keep the others waiting for ever.
    """
    pairs = len(cuts) % world_size
    singles = [_Group((cut,), 1) for cut in cuts[2 * pairs :]]
    return [_Group(tuple(cuts[: 2 * pairs]), pairs), *singles]
