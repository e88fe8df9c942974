"""What texts lose on their way to the model, by utterance, in one list."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from asr.files.write import write_text
from recipes.common.manifests import Utterance
from recipes.common.normaliser import TextOptions

__all__ = ["DROPPED_FILE", "NOT_IN_TRAIN", "Drop", "find_lacking", "normalised", "save_dropped"]

DROPPED_FILE = "dropped_text.tsv"
NOT_IN_TRAIN = "not in train"


class Drop(NamedTuple):
    """What an utterance loses, and why."""

    id: str
    split: str
    why: str
    what: str


def normalised(
    splits: Mapping[str, Sequence[Utterance]], options: TextOptions
) -> tuple[dict[str, list[Utterance]], list[Drop]]:
    """The utterances with their texts in the form of ``options``, and what these lose by it."""
    done: dict[str, list[Utterance]] = {}
    drops = []
    for split, utterances in splits.items():
        done[split] = []
        for utterance in utterances:
            text, dropped = options.apply_and_tell(utterance.text)
            if utterance.dropped:
                drops.append(Drop(utterance.id, split, "invisible", _named(utterance.dropped)))
            if dropped:
                drops.append(Drop(utterance.id, split, "punctuation", _named(dropped.elements())))
            if not text:
                drops.append(Drop(utterance.id, split, "the whole utterance", "no text is left"))
            done[split].append(replace(utterance, text=text))
    return done, drops


def find_lacking(splits: Mapping[str, Sequence[Utterance]], lacking: Sequence[str]) -> list[Drop]:
    """The utterances that have characters which the training texts lack: no model writes these."""
    strange = set(lacking)
    return [
        Drop(utterance.id, split, NOT_IN_TRAIN, _named(c for c in utterance.text if c in strange))
        for split, utterances in splits.items()
        for utterance in utterances
        if not strange.isdisjoint(utterance.text)
    ]


def save_dropped(data: Path, drops: Sequence[Drop]) -> None:
    """Write ``dropped_text.tsv``: id, split, reason, characters. No such file: nothing is dropped.

    Raises:
        OSError: it cannot be written.
    """
    path = data / DROPPED_FILE
    if not drops:
        path.unlink(missing_ok=True)
        return
    rows = [("id", "split", "why", "what"), *drops]
    write_text(path, "".join("\t".join(row) + "\n" for row in rows))


def _named(characters: Iterable[str]) -> str:
    """Each character with its number in Unicode and its name, since some cannot be seen."""
    counts = Counter(characters)
    return ", ".join(
        f"U+{ord(c):04X} {unicodedata.name(c, 'control')}" + (f" ×{n}" if n > 1 else "")
        for c, n in counts.items()
    )
