"""The options of ``prepare``, and a corpus read and divided as they say."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from asr.types import ConfigError, CorpusError
from recipes.common.corpus import Corpus, LeftOut
from recipes.common.manifests import Utterance
from recipes.custom.columns import KINDS
from recipes.custom.divide import parse_amount
from recipes.custom.entries import Entry, Found, ReadOptions
from recipes.custom.fetch import fetched
from recipes.custom.folders import NamePattern
from recipes.custom.forms import FORMS, recognise
from recipes.custom.splits import BY, SPLITS, SplitOptions, named_split, split_of_file, split_up
from recipes.custom.utterances import durations, named, told_by_names, utterance_of

__all__ = ["Source"]


class Source:
    """Anyone's recordings."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add how to read and divide them to the command line."""
        _add_reading(part)
        _add_splitting(part)

    def read(self, arguments: Namespace) -> Corpus:
        """Read all that ``--from`` names, and divide it.

        Raises:
            AsrError: options that cannot work; a corpus that is not of a known form, or broken.
        """
        splitting = _split_options(arguments)
        found, places = _read_all(arguments)
        entries, unmade = fetched([e for part in found for e in part.entries], arguments.data)
        if splitting.lists or splitting.by not in (None, "given"):
            entries = [replace(entry, split=None) for entry in entries]
        utterances, given, unusable = _utterances(named(entries))
        bad = [*chain(*(part.bad for part in found)), *unmade, *unusable]
        where = ", ".join(arguments.sources)
        if not utterances:
            raise _nothing(where, bad)
        divided = split_up(utterances, given, durations, splitting)
        print(f"splits {divided.how}")
        inputs = [*places, *splitting.lists.values()]
        return Corpus(where, divided.splits, bad, divided.note, inputs=inputs)


NO_SPLIT = (
    "others are in train, dev or test, and this is in none of them "
    "(name its split, or divide all anew by --split-by)"
)


def _utterances(
    entries: Sequence[Entry],
) -> tuple[list[Utterance], dict[str, str], list[LeftOut]]:
    """The utterances, the splits that the corpus gives them by id, and what cannot be used."""
    utterances, given, unusable = [], {}, []
    is_given = any(entry.split for entry in entries)
    for entry in entries:
        utterance = utterance_of(entry)
        if is_given and entry.split is None:
            utterance = LeftOut(entry.id, entry.where, NO_SPLIT)
        if isinstance(utterance, LeftOut):
            unusable.append(utterance)
            continue
        utterances.append(utterance)
        if entry.split is not None:
            given[entry.id] = entry.split
    return utterances, given, unusable


def _nothing(where: str, bad: Sequence[LeftOut]) -> CorpusError:
    lines = "".join(f"\n  {item}" for item in bad[:20])
    return CorpusError(
        f"no utterances with audio and text{lines}\n",
        where=where,
        remedy="check the texts; --name-pattern reads them from names of files",
    )


def _read_all(arguments: Namespace) -> tuple[list[Found], list[Path]]:
    """What ``--from`` names, each entry with its split or none; and the files and folders read."""
    found: list[Found] = []
    places: list[Path] = []
    for word in arguments.sources:
        split, path = _place(word)
        parts = [(arguments.form, path)] if arguments.form else recognise(path)
        found += [_read(form, place, split, arguments) for form, place in parts]
        places += [path, *(place for _, place in parts)]
    return found, places


def _read(form: str, place: Path, split: str | None, arguments: Namespace) -> Found:
    """What is at one place."""
    options = ReadOptions(
        _pairs("--columns", arguments.columns, KINDS),
        arguments.delimiter,
        arguments.audio_dir,
        arguments.run_commands,
    )
    pattern = NamePattern(arguments.name_pattern) if arguments.name_pattern else None
    found = FORMS[form].read(place, options)
    print(f"{place}: {FORMS[form].title}, {len(found.entries)} utterances")
    for remark in found.remarks:
        print(f"  {remark}")
    if pattern is not None:
        told_by_names(found, pattern)
    found.entries = [
        replace(entry, split=split or _split(entry, form, place)) for entry in found.entries
    ]
    return found


def _place(word: str) -> tuple[str | None, Path]:
    """``dev=PATH`` or ``PATH``."""
    split, equals, path = word.partition("=")
    return (split, Path(path)) if equals and split in SPLITS else (None, Path(word))


def _split(entry: Entry, form: str, place: Path) -> str | None:
    """The split of an entry: its own, or that of the file that is called so."""
    own = named_split(entry.split)
    if own is None and form in ("table", "lhotse"):
        return split_of_file(place)
    return own


def _pairs(option: str, words: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE …`` as a dictionary.

    Raises:
        ConfigError: a word is not of that form, or names something else.
    """
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in names or not value:
            raise ConfigError(
                f"{option} {word!r}", remedy=f"give NAME=VALUE; names: {', '.join(names)}"
            )
        pairs[name] = value
    return pairs


def _split_options(arguments: Namespace) -> SplitOptions:
    lists = _pairs("--list", arguments.lists, SPLITS)
    return SplitOptions(
        arguments.split_by,
        {"dev": parse_amount(arguments.dev), "test": parse_amount(arguments.test)},
        {split: Path(path) for split, path in lists.items()},
        arguments.seed,
    )


def _add_reading(part: ArgumentParser) -> None:
    part.add_argument(
        *("--from", "--corpus"),
        dest="sources",
        nargs="+",
        required=True,
        metavar="PATH",
        help="files or folders; train=PATH, dev=PATH or test=PATH says what they are for",
    )
    titles = "; ".join(f"{name}: {form.title}" for name, form in FORMS.items())
    part.add_argument(
        "--format", dest="form", choices=tuple(FORMS), help=f"default: recognised. {titles}"
    )
    part.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="WHAT=NAME",
        help=f"a table's columns, by name or number; WHAT is one of {', '.join(KINDS)}",
    )
    part.add_argument("--delimiter", help="between a table's columns (default: seen)")
    part.add_argument("--audio-dir", type=Path, help="folder that a table's paths are relative to")
    part.add_argument(
        "--name-pattern",
        metavar="PATTERN",
        help="what names of files tell, as '{text}_{speaker}_{take}' or '{speaker}/{id}'",
    )
    part.add_argument(
        "--run-commands", action="store_true", help="run the commands in a corpus that you trust"
    )


def _add_splitting(part: ArgumentParser) -> None:
    part.add_argument(
        "--split-by",
        choices=BY,
        help="default: as given; else by the largest of these that there are enough of",
    )
    part.add_argument(
        "--list",
        dest="lists",
        nargs="+",
        default=[],
        metavar="SPLIT=FILE",
        help="ids, recordings or speakers of a split, a line each; the rest trains",
    )
    part.add_argument("--dev", default="0.1", help="share, or hours as 2h or 30min (default: 0.1)")
    part.add_argument("--test", default="0.1", help="the same for test; 0: none (default: 0.1)")
    part.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
