"""AN4's layout, which is that of CMU Sphinx: ``etc/NAME_train.fileids`` and ``.transcription``."""

from __future__ import annotations

from pathlib import Path

from recipes.an4.corpus import official
from recipes.custom.entries import Entry, Found, ReadOptions

__all__ = ["is_sphinx", "read_sphinx"]

END = "_train.fileids"


def is_sphinx(path: Path) -> bool:
    """Whether a folder is laid out so."""
    return any(path.glob(f"etc/*{END}"))


def read_sphinx(path: Path, options: ReadOptions) -> Found:
    """The training part and, if there is one, the test part; a file's folder is its speaker.

    Raises:
        CorpusError: a list or a recording is missing or broken.
    """
    found = Found(path)
    for lists in sorted(path.glob(f"etc/*{END}")):
        name = lists.name.removesuffix(END)
        for part in ("train", "test"):
            fileids = lists.with_name(f"{name}_{part}.fileids")
            if not fileids.is_file():
                continue
            for utterance in official(path, part, name):
                found.entries.append(
                    Entry(
                        str(fileids),
                        utterance.audio,
                        utterance.text,
                        id=utterance.id,
                        speaker=utterance.speaker,
                        split=part,
                        byte_order=utterance.byte_order,
                    )
                )
    return found
