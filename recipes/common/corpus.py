"""A corpus as it was read, and what its data folder says of it beside the manifests."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.files.write import write_text
from asr.types import CorpusError
from recipes.common.manifests import Utterance

__all__ = [
    "LEFT_OUT_FILE",
    "NOTE_FILE",
    "Corpus",
    "LeftOut",
    "add_corpus_option",
    "save_left_out",
    "save_split_note",
    "split_note",
]

LEFT_OUT_FILE, NOTE_FILE = "left_out.tsv", "split.json"


@dataclass(frozen=True)
class LeftOut:
    """An utterance that is not trained on: its id, the file or line it is from, and why."""

    id: str
    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.id}: {self.where}: {self.why}" if self.where else f"{self.id}: {self.why}"


@dataclass(frozen=True)
class Corpus:
    """Utterances by split.

    Attributes:
        where: the folder, for messages.
        splits: the utterances of train, dev and perhaps test.
        bad: what cannot be used of it.
        split_note: what readers of error rates must know of the splits: that a speaker is in two.
            None: no speaker may be.
        unions: splits that hold the speakers of others, though never those of train.
        tokens: all tokens, where they are known; none for those of the training texts.
        inputs: files and folders that it was read from, beside the audio.
    """

    where: str
    splits: Mapping[str, Sequence[Utterance]]
    bad: Sequence[LeftOut] = ()
    split_note: str | None = None
    unions: Sequence[str] = ()
    tokens: Sequence[str] = ()
    inputs: Sequence[Path] = ()


def save_left_out(data: Path, left_out: Sequence[LeftOut]) -> Path | None:
    """Write ``left_out.tsv``: id, file or line, reason. No such file says that nothing is.

    Raises:
        OSError: it cannot be written.
    """
    path = data / LEFT_OUT_FILE
    if not left_out:
        path.unlink(missing_ok=True)
        return None
    rows = [("id", "where", "why"), *((item.id, item.where, item.why) for item in left_out)]
    lines = ("\t".join(" ".join(cell.split()) for cell in row) for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def _note_path(data: Path) -> Path:
    return data / NOTE_FILE


def save_split_note(data: Path, note: str | None) -> None:
    """Keep ``note`` with the data: every table shows it.

    Raises:
        OSError: it cannot be written.
    """
    if note is None:
        _note_path(data).unlink(missing_ok=True)
    else:
        write_text(_note_path(data), json.dumps({"note": note}, ensure_ascii=False) + "\n")


def split_note(data: Path) -> str | None:
    """What readers of error rates on ``data`` must know of its splits, if anything.

    Raises:
        CorpusError: the file that says it is damaged.
    """
    path = _note_path(data)
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["note"])
    except (OSError, ValueError, LookupError, TypeError):
        raise CorpusError(
            "the note on the splits is damaged", where=str(path), remedy="run `prepare` again"
        ) from None


def add_corpus_option(part: ArgumentParser, title: str, *, required: bool = True) -> None:
    """Give a command the option that says where the corpus called ``title`` is."""
    part.add_argument("--corpus", type=Path, required=required, help=f"folder of {title}")
