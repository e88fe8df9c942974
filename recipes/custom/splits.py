"""Which utterance is in which split: as the corpus says, as lists say, or divided here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.files.read import read_lines
from asr.types import ConfigError, CorpusError
from recipes.common.manifests import Utterance
from recipes.custom.divide import Amount, Group, divide

__all__ = ["BY", "SPLITS", "Divided", "SplitOptions", "named_split", "split_of_file", "split_up"]

SPLITS = ("train", "dev", "test")
BY = ("given", "speaker", "recording", "utterance")
WORDS = {
    "train": "train training trn tr",
    "dev": "dev devel development valid validation val cv",
    "test": "test testing tst eval evaluation",
}
NAMES = {word: split for split, words in WORDS.items() for word in words.split()}
KIND = ("gender", "sex")  # fields whose values are kept in proportion
SHOWN = 12  # names of speakers in a line

Measure = Callable[[Sequence[Utterance]], Mapping[str, float]]


@dataclass(frozen=True)
class SplitOptions:
    """How to divide.

    Attributes:
        by: one of :data:`BY`; None: as given, or by the largest unit that there are enough of.
        amounts: of dev and test.
        lists: files of ids, names of recordings or speakers, by split; what is in none trains.
        seed: of the choice.
    """

    by: str | None = None
    amounts: Mapping[str, Amount] = field(default_factory=dict)
    lists: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.lists and self.by not in (None, "given"):
            raise ConfigError(
                f"lists of splits, and --split-by {self.by}", remedy="give one of the two"
            )
        if self.seed < 0:
            raise ConfigError(f"the seed of the choice is {self.seed}", remedy="give 0 or more")


@dataclass(frozen=True)
class Divided:
    """Utterances by split; how it was done, for people; and what every table has to say of it."""

    splits: dict[str, list[Utterance]]
    how: str
    note: str | None


def named_split(word: str | None) -> str | None:
    """The split of a corpus' own word for it, as ``valid`` or ``train-clean-100``; or None."""
    if not word:
        return None
    plain = word.strip().lower()
    return NAMES.get(plain) or NAMES.get(re.split(r"[-_. 0-9]", plain, maxsplit=1)[0])


def split_of_file(path: Path) -> str | None:
    """The split that a table or CutSet is called by, as ``dev.tsv`` or ``cuts_dev.jsonl.gz``."""
    return named_split(path.name.partition(".")[0].rpartition("cuts_")[2])


def split_up(
    utterances: Sequence[Utterance],
    given: Mapping[str, str],
    measure: Measure,
    options: SplitOptions,
) -> Divided:
    """Divide ``utterances``.

    Args:
        utterances: all of them, each with an id of its own.
        given: the split that the corpus gives an utterance, by id.
        measure: gives the seconds of utterances, by id; asked where they are to be divided.
        options: what the user wants.

    Raises:
        CorpusError: what is given has no training part, a list is broken, or there is too little.
    """
    if options.lists:
        given = _by_lists(utterances, options.lists)
    if not given and options.by == "given":
        raise CorpusError(
            "the corpus gives no splits",
            remedy="name a column or folders for them, or give lists by --list dev=FILE",
        )
    if not given or options.by not in (None, "given"):
        return _divided(utterances, measure, options, "")
    if "train" not in given.values():
        raise CorpusError(
            f"the corpus gives {' and '.join(sorted(set(given.values())))} and nothing to train on",
            remedy="give the training part too, or divide anew by --split-by utterance",
        )
    if "dev" not in given.values():
        options = replace(options, by=None, amounts={"dev": options.amounts["dev"]})
        inside = [u for u in utterances if given[u.id] == "train"]
        part = _divided(inside, measure, options, "as given, dev from train ")
        splits = {**part.splits, "test": [u for u in utterances if given[u.id] == "test"]}
        splits = {split: found for split, found in splits.items() if found}
        return Divided(splits, part.how, part.note or _note(splits, "as given"))
    splits = {s: [u for u in utterances if given[u.id] == s] for s in SPLITS}
    splits = {split: found for split, found in splits.items() if found}
    return Divided(splits, "as given", _note(splits, "as given"))


def _by_lists(utterances: Sequence[Utterance], lists: Mapping[str, Path]) -> dict[str, str]:
    """The split of each utterance, by its id, its recording's name or its speaker.

    Raises:
        CorpusError: a line names nothing, several things, or something that another names too.
    """
    of_name = _named_by_kind(utterances)
    given: dict[str, str] = {}
    for split, path in lists.items():
        for line in read_lines(path, CorpusError):
            name = line.text.strip()
            kinds = of_name.get(name)
            if kinds is None:
                raise CorpusError(
                    f"{name!r} is no utterance, recording or speaker here",
                    where=line.where,
                    remedy="mend or remove the line",
                )
            ids, *others = kinds.values()
            if any(other != ids for other in others):
                raise CorpusError(
                    f"{name!r} is {' and '.join(kinds)}, of different utterances",
                    where=line.where,
                    remedy="give the ids of the utterances that are meant",
                )
            if taken := next((i for i in sorted(ids) if given.get(i, split) != split), None):
                raise CorpusError(
                    f"{taken} is in {given[taken]} already", where=line.where, remedy="keep one"
                )
            given |= dict.fromkeys(ids, split)
    return {utterance.id: given.get(utterance.id, "train") for utterance in utterances}


def _named_by_kind(utterances: Sequence[Utterance]) -> dict[str, dict[str, set[str]]]:
    """For each name what bears it, in words, and the ids of the utterances of that."""
    of_name: dict[str, dict[str, set[str]]] = {}
    for utterance in utterances:
        recording = utterance.audio
        kinds: dict[str, list[str | None]] = {
            "an utterance": [utterance.id],
            "a recording": [str(recording), recording.name, recording.stem],
            "a speaker": [utterance.speaker],
        }
        for kind, names in kinds.items():
            for name in filter(None, names):
                of_name.setdefault(name, {}).setdefault(kind, set()).add(utterance.id)
    return of_name


def _divided(
    utterances: Sequence[Utterance],
    measure: Measure,
    options: SplitOptions,
    how: str,
) -> Divided:
    """Divide by ``options.by``, or the largest unit of which there are enough."""
    amounts = {split: amount for split, amount in options.amounts.items() if not amount.is_none}
    if "dev" not in amounts:
        raise ConfigError("no part for development", remedy="give --dev: training needs one")
    by = options.by or _unit(utterances, len(amounts) + 1)
    names = {u.id: _name(u, by) for u in utterances}
    kinds = {
        names[u.id]: next((u.fields[k] for k in KIND if k in u.fields), "") for u in utterances
    }
    groups: Counter[str] = Counter()
    seconds = measure(utterances)
    for utterance in utterances:
        if names[utterance.id]:
            groups[names[utterance.id]] += seconds[utterance.id]
    of_group = divide(
        [Group(name, length, kinds[name]) for name, length in sorted(groups.items())],
        amounts,
        options.seed,
    )
    splits = {split: [] for split in SPLITS if split == "train" or split in amounts}
    for utterance in utterances:  # who is not known may be anyone: they train
        splits[of_group.get(names[utterance.id], "train")].append(utterance)
    how = f"{how}by {by}, seed {options.seed}"
    if by == "speaker":
        held = {s: sorted(n for n, of in of_group.items() if of == s) for s in amounts}
        how += "".join(f"; {s}: {_shown(names)}" for s, names in held.items())
    return Divided(splits, how, _note(splits, f"divided by {by}"))


def _unit(utterances: Sequence[Utterance], parts: int) -> str:
    """The largest unit of which there are at least as many as ``parts``."""
    if len({u.speaker for u in utterances if u.speaker}) >= parts:
        return "speaker"
    recordings = {u.audio for u in utterances}
    return "recording" if parts <= len(recordings) < len(utterances) else "utterance"


def _name(utterance: Utterance, by: str) -> str:
    """The group that an utterance is in; none where the speaker is not known."""
    if by == "speaker":
        return utterance.speaker or ""
    return str(utterance.audio) if by == "recording" else utterance.id


def _shown(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _note(splits: Mapping[str, Sequence[Utterance]], how: str) -> str | None:
    """What readers of error rates must know of speakers; None: no speaker is in two splits."""
    speakers = {split: {u.speaker for u in found} for split, found in splits.items()}
    everyone = set().union(*speakers.values())
    if everyone == {None}:
        return f"Splits {how}: who speaks is not known, so speakers may be in several splits."
    if len(everyone) == 1:
        return f"Splits {how}: one speaker is in all of them."
    held = {split: found for split, found in speakers.items() if split != "train"}
    shared = sorted(split for split, found in held.items() if (found & speakers["train"]) - {None})
    if shared:
        return f"Splits {how}: speakers of {' and '.join(shared)} are in train too."
    between = set.intersection(*map(set, held.values())) - {None} if len(held) > 1 else set()
    if between:
        return f"Splits {how}: speakers of dev are in test too."
    if None in everyone:
        return f"Splits {how}: some speakers are not known, and may be in several splits."
    return None
