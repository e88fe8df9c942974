"""The command ``prepare``: a corpus, checked from end to end, as manifests and a token list."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lhotse.cut import Cut
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.files.write import Guard
from asr.types import CorpusError
from recipes.common.corpus import (
    LEFT_OUT_FILE,
    NOTE_FILE,
    Corpus,
    LeftOut,
    save_left_out,
    save_split_note,
)
from recipes.common.data import manifest_path, tokens_path
from recipes.common.manifests import (
    Broken,
    Utterance,
    check_audio,
    check_ids,
    describe,
    refuse,
    writing_cuts,
)
from recipes.common.normaliser import TextOptions
from recipes.common.prepared_texts import FILES, PreparedTexts, prepare_texts
from recipes.common.recipe import Recipe
from recipes.common.shards import FOLDER as SHARDS
from recipes.common.shards import Sharding, writing_shards
from recipes.common.units.options import OF_LEXICONS, UnitOptions

__all__ = ["PrepareOptions", "prepare", "prepare_corpus", "read_split"]


@dataclass(frozen=True)
class PrepareOptions:
    """What can be chosen.

    Attributes:
        skip_bad: leave out what cannot be used, and list it in ``left_out.tsv``.
        text: the form of texts; None for the recipe's.
        units: what texts are made into; None for characters.
        sharding: into which shards audio is copied, where the manifests then find it; None: none.
    """

    skip_bad: bool = False
    text: TextOptions | None = None
    units: UnitOptions | None = None
    sharding: Sharding | None = None


def prepare(
    recipe: Recipe,
    corpus: Path,
    data: Path,
    options: PrepareOptions = PrepareOptions(),
) -> None:
    """Read ``corpus`` and write it as :func:`prepare_corpus` does.

    Raises:
        CorpusError: the corpus is not laid out as published, or see there.
    """
    splits = {split: read_split(recipe, corpus, split) for split in recipe.splits}
    prepare_corpus(recipe, Corpus(str(corpus), splits, inputs=(corpus,)), data, options)


def prepare_corpus(recipe: Recipe, corpus: Corpus, data: Path, options: PrepareOptions) -> None:
    """Write manifests and the token list of ``corpus`` to ``data``; prints a table.

    Nothing is written before all texts and all audio have been read. What texts are made of, what
    they lose and what is left out is listed beside the manifests.

    Raises:
        CorpusError: a text is missing, a speaker or a recording is in two splits, words have no
            pronunciation, or recordings cannot be used (the message names them all); or the disk
            refuses.
        ConfigError: the units cannot be made, or something would be written over what is read.
        MissingPackageError: they need a package that is not installed.
    """
    _refuse_stale(data, corpus.splits)
    _check_targets(data, corpus, options)
    for split, utterances in corpus.splits.items():
        check_ids(manifest_path(data, split), utterances)
    if corpus.split_note is None:
        _check_speakers(corpus.splits, corpus.unions)
    _check_recordings(corpus.splits, corpus.unions)
    texts = prepare_texts(recipe, corpus, options.text or recipe.text, options.units)
    corpus = replace(corpus, splits=texts.splits)
    cuts, left_out = _usable(corpus, skip_bad=options.skip_bad)
    _save(data, cuts, texts, options.sharding)
    note = "\n".join(filter(None, (corpus.split_note, recipe.note(cuts)))) or None
    list_of_left_out = _save_notes(data, note, left_out)
    _print_table(f"{recipe.title} -> {data}", cuts, note)
    texts.print_report(data)
    if list_of_left_out is not None:
        print(f"{len(left_out)} utterances are left out: {list_of_left_out}")


def read_split(recipe: Recipe, corpus: Path, split: str) -> list[Utterance]:
    """Return a split of ``corpus``; says so if characters of its texts were dropped.

    Raises:
        CorpusError: the corpus is not laid out as published, or a folder cannot be read.
    """
    try:
        found = recipe.utterances(corpus, split)
    except OSError as error:
        raise CorpusError(
            f"cannot read: {error.strerror}",
            where=str(error.filename or corpus),
            remedy="check the folder and its permissions",
        ) from None
    if dropped := sum(len(utterance.dropped) for utterance in found):
        print(f"{split}: {dropped} invisible characters (zero-width and the like) are dropped")
    return found


def _refuse_stale(data: Path, splits: Iterable[str]) -> None:
    """Raise where an earlier preparation left a split that this one has not: it may train now."""
    for split in {"train", "dev", "test"} - set(splits):
        if (path := manifest_path(data, split)).exists():
            raise CorpusError(
                f"an earlier preparation left this, and there is no {split} now",
                where=str(path),
                remedy="remove it, or give another folder by --data",
            )


def _check_targets(data: Path, corpus: Corpus, options: PrepareOptions) -> None:
    """Refuse to write over what is read: the corpus, its audio, lexicons.

    Raises:
        ConfigError: something would be lost.
    """
    audio = {utterance.audio for split in corpus.splits.values() for utterance in split}
    units = options.units
    lexicons = [] if units is None else [*units.lexicons, units.words]
    guard = Guard([*corpus.inputs, *audio, *(name for name in lexicons if name != OF_LEXICONS)])
    for split in corpus.splits:
        guard.check(manifest_path(data, split))
        if options.sharding is not None:
            guard.check(data / SHARDS / split)
    for name in (*FILES, LEFT_OUT_FILE, NOTE_FILE, tokens_path(data).name):
        guard.check(data / name)


def _check_speakers(splits: Mapping[str, Sequence[Utterance]], unions: Sequence[str]) -> None:
    """Raise when a speaker is in two splits: error rates would flatter the model."""
    speakers = {split: {u.speaker for u in found} - {None} for split, found in splits.items()}
    if shared := _shared(speakers, unions):
        speaker, one, other = shared
        raise CorpusError(
            f"speaker {speaker} is in both {one} and {other}",
            remedy="give each speaker to one split",
        )


def _check_recordings(splits: Mapping[str, Sequence[Utterance]], unions: Sequence[str]) -> None:
    """Raise when the same speech is in two splits, whatever it is called there."""
    spans = {
        split: {(os.path.abspath(u.audio), u.start, u.duration, u.channel) for u in found}
        for split, found in splits.items()
    }
    if shared := _shared(spans, unions):
        (audio, start, *_), one, other = shared
        part = f" from {start:g} s" if start else ""
        raise CorpusError(
            f"this recording is in both {one} and {other}{part}",
            where=audio,
            remedy="give it to one split",
        )


T = TypeVar("T")


def _shared(splits: Mapping[str, set[T]], unions: Sequence[str]) -> tuple[T, str, str] | None:
    """What is in two splits, the first by its name, and which these are; None: nothing is.

    ``unions`` may share with all splits but train.
    """
    seen: dict[T, str] = {}
    for split in sorted(splits, key=lambda split: split in unions):  # which come last
        both = splits[split] & seen.keys()
        if split in unions:
            both = {each for each in both if seen[each] == "train"}
        if both:
            first = min(both, key=str)
            return first, seen[first], split
        seen |= dict.fromkeys(splits[split] - seen.keys(), split)
    return None


def _usable(corpus: Corpus, *, skip_bad: bool) -> tuple[dict[str, list[Cut]], list[LeftOut]]:
    """The cuts of each split, once all audio has been read, and what is left out."""
    checked = check_audio([u for utterances in corpus.splits.values() for u in utterances])
    broken = [_left_out(item) for item in checked if isinstance(item, Broken)]
    left_out = [*corpus.bad, *broken]
    bad, total = [str(item) for item in left_out], len(checked) + len(corpus.bad)
    if not skip_bad:
        refuse(bad, total, remedy="mend or remove them, or add --skip-bad")
    elif bad:
        print(f"left out: {describe(bad, total)}", file=sys.stderr)
    cuts, results = {}, iter(checked)
    for split, utterances in corpus.splits.items():
        mine = [next(results) for _ in utterances]
        cuts[split] = [item for item in mine if not isinstance(item, Broken)]
        if not cuts[split]:
            raise CorpusError(f"no recording of {split} can be used", remedy="restore the corpus")
    return cuts, left_out


def _left_out(broken: Broken) -> LeftOut:
    error = broken.error.at(str(broken.utterance.audio))
    why = f"{error.what} ({error.remedy})" if error.remedy else error.what
    return LeftOut(broken.utterance.id, str(error.where), why)


def _save(
    data: Path, cuts: dict[str, list[Cut]], texts: PreparedTexts, sharding: Sharding | None
) -> None:
    """Write shards, if any, and manifests, which come to their places together, then the texts'.

    The token list of an earlier preparation goes first and that of this one comes last, so that
    nobody trains on what an interruption has left of both.
    """
    with ExitStack() as stack:
        placed: Mapping[str, Sequence[Cut]] = cuts
        if sharding is not None:
            placed = stack.enter_context(writing_shards(cuts, data, sharding))
        for split, mine in placed.items():
            stack.enter_context(writing_cuts(manifest_path(data, split), mine))
        tokens_path(data).unlink(missing_ok=True)
    texts.save(data)


def _save_notes(data: Path, note: str | None, left_out: Sequence[LeftOut]) -> Path | None:
    """Write what is said of the data beside the manifests; returns the list of what is left out."""
    try:
        save_split_note(data, note)
        return save_left_out(data, left_out)
    except OSError as error:
        raise CorpusError(
            f"cannot write: {error.strerror}",
            where=str(error.filename or data),
            remedy="check the folder and the space left",
        ) from None


def _print_table(title: str, splits: dict[str, list[Cut]], note: str | None) -> None:
    table = Table("split", "utterances", "speakers", "hours", title=Text(title), caption=note)
    for split, cuts in splits.items():
        hours = sum(cut.duration for cut in cuts) / 3600
        speakers = {cut.supervisions[0].speaker for cut in cuts}
        known = "unknown" if speakers == {None} else str(len(speakers - {None}))
        table.add_row(split, str(len(cuts)), known, f"{hours:.2f}")
    Console().print(table)
