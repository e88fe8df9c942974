"""Groups of utterances shared out to train, dev and test, balanced by hours, from a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr.types import ConfigError, CorpusError

__all__ = ["Amount", "Group", "divide", "parse_amount"]

TRIES = 200  # orders of the groups that are tried; the best of them counts
GOOD = 0.02  # a part that misses its aim by so little is not bettered
AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|h|min|s)?")
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Amount:
    """So many seconds, or such a share of all."""

    seconds: float | None = None
    share: float | None = None

    def of(self, total: float) -> float:
        """Seconds, of ``total``."""
        return self.seconds if self.seconds is not None else (self.share or 0.0) * total

    @property
    def is_none(self) -> bool:
        """Whether nothing is wanted."""
        return not self.seconds and not self.share


def parse_amount(text: str) -> Amount:
    """``0.1`` or ``10%`` of the hours, or ``2h``, ``30min``, ``90s``.

    Raises:
        ConfigError: it is none of these, or all of the data.
    """
    match = AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"{text!r} is no part of a corpus", remedy="give 0.1, 10%, 2h, 30min or 90s"
        )
    number, unit = float(match.group(1)), match.group(2)
    if unit in SECONDS:
        return Amount(seconds=number * SECONDS[unit])
    share = number / 100 if unit == "%" else number
    if not 0 <= share < 1:
        raise ConfigError(
            f"{text!r} is not less than all", remedy="give a share below 1, or hours as 2h"
        )
    return Amount(share=share)


@dataclass(frozen=True)
class Group:
    """Utterances that stay together; ``kind`` is kept in proportion (women and men, for one)."""

    name: str
    seconds: float
    kind: str = ""


def divide(groups: Sequence[Group], held_out: Mapping[str, Amount], seed: int) -> dict[str, str]:
    """The split of each group: one of ``held_out``, or train.

    Each gets a group at least. Of many random choices the one is taken whose hours, and whose
    hours of each kind of group, come nearest to what is asked for.

    Raises:
        CorpusError: there are fewer groups than splits, or less to share out than is asked for.
    """
    if len(groups) <= len(held_out):
        raise CorpusError(
            f"{len(groups)} to share out to {len(held_out) + 1} splits",
            remedy="divide by smaller units (--split-by utterance), or leave out a split: --test 0",
        )
    total = sum(group.seconds for group in groups)
    if sum(amount.of(total) for amount in held_out.values()) >= total > 0:
        raise CorpusError(
            f"{total / 3600:.2f} h in all: {' and '.join(held_out)} leave nothing to train on",
            remedy="ask for less by --dev and --test",
        )
    rng = np.random.default_rng(seed)
    left, of_group = list(groups), {}
    for number, (split, amount) in enumerate(held_out.items(), start=1):
        rest = len(held_out) - number + 1  # groups that others need
        chosen = _choose(left, amount.of(total), len(left) - rest, rng)
        of_group |= {group.name: split for group in chosen}
        left = [group for group in left if group.name not in of_group]
    return of_group | {group.name: "train" for group in left}


def _choose(
    groups: Sequence[Group], wanted: float, most: int, rng: np.random.Generator
) -> list[Group]:
    """At most ``most`` of ``groups``, of ``wanted`` seconds together as nearly as can be."""
    seconds = np.array([group.seconds for group in groups])
    kinds = sorted({group.kind for group in groups})
    of_kind = (
        np.array([[group.kind == kind for kind in kinds] for group in groups]) * seconds[:, None]
    )
    proportion = of_kind.sum(axis=0) / max(seconds.sum(), 1e-9)
    best, least = np.arange(1), np.inf
    for _ in range(TRIES):
        order = rng.permutation(len(groups))[:most]
        sums = np.cumsum(of_kind[order], axis=0)  # (groups, kinds)
        misses = np.abs(sums - wanted * proportion).sum(axis=1) / max(wanted, 1e-9)
        count = int(np.argmin(misses)) + 1
        if misses[count - 1] < least:
            best, least = order[:count], misses[count - 1]
        if least < GOOD:
            break
    return [groups[index] for index in sorted(best)]
