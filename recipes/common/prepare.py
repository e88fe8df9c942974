"""The command ``prepare``: a corpus, checked from end to end, as manifests and a token list."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lhotse.cut import Cut
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.tokens import BLANK, Tokenizer
from asr.types import CorpusError
from recipes.common.corpus import Corpus, LeftOut, save_left_out, save_split_note
from recipes.common.data import manifest_path, tokens_path
from recipes.common.manifests import (
    Broken,
    Utterance,
    check_audio,
    check_ids,
    describe,
    refuse,
    save_cuts,
)
from recipes.common.recipe import Recipe

__all__ = ["prepare", "prepare_corpus", "read_split"]


def prepare(recipe: Recipe, corpus: Path, data: Path, *, skip_bad: bool = False) -> None:
    """Read ``corpus`` and write it as :func:`prepare_corpus` does.

    Raises:
        CorpusError: the corpus is not laid out as published, or see there.
    """
    splits = {split: read_split(recipe, corpus, split) for split in recipe.splits}
    prepare_corpus(recipe, Corpus(str(corpus), splits), data, skip_bad=skip_bad)


def prepare_corpus(recipe: Recipe, corpus: Corpus, data: Path, *, skip_bad: bool = False) -> None:
    """Write manifests and the token list of ``corpus`` to ``data``; prints a table.

    Nothing is written before all texts and all audio have been read. With ``skip_bad``, what cannot
    be used is named and left out; ``left_out.tsv`` lists it.

    Raises:
        CorpusError: a text is missing, a speaker is in two splits, or recordings cannot be used
            (the message names them all); or the disk refuses.
    """
    splits = corpus.splits
    for split, utterances in splits.items():
        check_ids(manifest_path(data, split), utterances)
    if corpus.split_note is None:
        _check_speakers(splits, corpus.unions)
    tokenizer = _tokenizer(recipe, splits["train"], corpus.where, corpus.tokens)
    cuts, left_out = _usable(corpus, skip_bad=skip_bad)
    for split in splits:
        save_cuts(manifest_path(data, split), cuts[split])
    _save_tokens(tokenizer, tokens_path(data))
    note = "\n".join(filter(None, (corpus.split_note, recipe.note(cuts)))) or None
    list_of_left_out = _save_notes(data, note, left_out)
    _print_table(f"{recipe.title} -> {data}", cuts, note)
    print(f"{tokenizer.size} tokens with the blank: {' '.join(tokenizer.tokens)}")
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
    if dropped := sum(utterance.dropped for utterance in found):
        print(f"{split}: {dropped} invisible characters (zero-width and the like) are dropped")
    return found


def _check_speakers(splits: Mapping[str, Sequence[Utterance]], unions: Sequence[str]) -> None:
    """Raise when a speaker is in two splits: error rates would flatter the model.

    ``unions`` may share speakers with all splits but train.
    """
    seen: dict[str, str] = {}
    for split in sorted(splits, key=lambda split: split in unions):  # which come last
        for speaker in sorted({u.speaker for u in splits[split] if u.speaker is not None}):
            if split in unions and seen.get(speaker) != "train":
                continue
            if speaker in seen:
                raise CorpusError(
                    f"speaker {speaker} is in both {seen[speaker]} and {split}",
                    remedy="give each speaker to one split",
                )
            seen[speaker] = split


def _tokenizer(
    recipe: Recipe, utterances: Sequence[Utterance], where: str, known: Sequence[str]
) -> Tokenizer:
    """The vocabulary that is ``known``, or that of the training texts."""
    if not any(utterance.text for utterance in utterances):
        raise CorpusError(
            f"all {len(utterances)} texts of the training part are empty",
            where=where,
            remedy="check the transcripts",
        )
    if recipe.token_kind == "phones":
        for utterance in utterances:
            if BLANK in utterance.text.split():
                raise CorpusError(
                    f"{utterance.id} has a phone called {BLANK}, the name of CTC's blank",
                    where=where,
                    remedy="give the phone another name",
                )
    texts = [" ".join(known)] if known else [u.text for u in utterances]
    return Tokenizer.from_texts(texts, recipe.token_kind)


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


def _save_tokens(tokenizer: Tokenizer, path: Path) -> None:
    try:
        tokenizer.save(path)
    except OSError as error:
        raise CorpusError(
            f"cannot write the token list: {error.strerror}",
            where=str(path),
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
