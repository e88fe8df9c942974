"""The command ``prepare``: a corpus, checked from end to end, as manifests and a token list."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lhotse.cut import Cut
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.tokens import BLANK, Tokenizer
from asr.types import CorpusError
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

__all__ = ["prepare", "read_split"]


def prepare(recipe: Recipe, corpus: Path, data: Path, *, skip_broken: bool = False) -> None:
    """Read ``corpus`` and write manifests and the token list to ``data``; prints a table.

    Nothing is written before all texts and all audio have been read. With ``skip_broken``,
    recordings that cannot be used are named and left out.

    Raises:
        CorpusError: the corpus is not laid out as published, a text is missing, or recordings
            cannot be used (the message names them all); or the disk refuses.
    """
    splits = {split: read_split(recipe, corpus, split) for split in recipe.splits}
    for split, utterances in splits.items():
        check_ids(manifest_path(data, split), utterances)
    _check_speakers(splits)
    tokenizer = _tokenizer(recipe, splits["train"], corpus)
    cuts = _usable(splits, skip_broken=skip_broken)
    for split in splits:
        save_cuts(manifest_path(data, split), cuts[split])
    _save_tokens(tokenizer, tokens_path(data))
    _print_table(f"{recipe.title} -> {data}", cuts)
    print(f"{tokenizer.size} tokens with the blank: {' '.join(tokenizer.tokens)}")


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


def _check_speakers(splits: dict[str, list[Utterance]]) -> None:
    """Raise when a speaker is in two splits: error rates would flatter the model."""
    seen: dict[str, str] = {}
    for split, utterances in splits.items():
        for speaker in sorted({u.speaker for u in utterances}):
            if speaker in seen:
                raise CorpusError(
                    f"speaker {speaker} is in both {seen[speaker]} and {split}",
                    remedy="give each speaker to one split",
                )
            seen[speaker] = split


def _tokenizer(recipe: Recipe, utterances: Sequence[Utterance], corpus: Path) -> Tokenizer:
    """The vocabulary of the training texts."""
    if not any(utterance.text for utterance in utterances):
        raise CorpusError(
            f"all {len(utterances)} texts of the training part are empty",
            where=str(corpus),
            remedy="check the transcripts",
        )
    if recipe.token_kind == "phones":
        for utterance in utterances:
            if BLANK in utterance.text.split():
                raise CorpusError(
                    f"{utterance.id} has a phone called {BLANK}, the name of CTC's blank",
                    where=str(corpus),
                    remedy="give the phone another name",
                )
    return Tokenizer.from_texts([u.text for u in utterances], recipe.token_kind)


def _usable(splits: dict[str, list[Utterance]], *, skip_broken: bool) -> dict[str, list[Cut]]:
    """The cuts of each split, once all audio has been read."""
    checked = check_audio([u for utterances in splits.values() for u in utterances])
    broken = [item for item in checked if isinstance(item, Broken)]
    if not skip_broken:
        refuse(broken, len(checked), remedy="mend or remove them, or add --skip-broken")
    elif broken:
        print(f"left out: {describe(broken, len(checked))}", file=sys.stderr)
    cuts, results = {}, iter(checked)
    for split, utterances in splits.items():
        mine = [next(results) for _ in utterances]
        cuts[split] = [item for item in mine if not isinstance(item, Broken)]
        if not cuts[split]:
            raise CorpusError(f"no recording of {split} can be used", remedy="restore the corpus")
    return cuts


def _save_tokens(tokenizer: Tokenizer, path: Path) -> None:
    try:
        tokenizer.save(path)
    except OSError as error:
        raise CorpusError(
            f"cannot write the token list: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None


def _print_table(title: str, splits: dict[str, list[Cut]]) -> None:
    table = Table("split", "utterances", "speakers", "hours", title=Text(title))
    for split, cuts in splits.items():
        hours = sum(cut.duration for cut in cuts) / 3600
        speakers = {cut.supervisions[0].speaker for cut in cuts}
        table.add_row(split, str(len(cuts)), str(len(speakers)), f"{hours:.2f}")
    Console().print(table)
