"""Tables of audio and text: CSV, TSV, JSON; NeMo's manifests, Common Voice, LJSpeech."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr.types import CorpusError
from recipes.custom.columns import KINDS, choose_columns
from recipes.custom.entries import Entry, Found, ReadOptions
from recipes.custom.folders import AUDIO_SUFFIXES
from recipes.custom.rows import Row, read_rows

__all__ = ["read_common_voice", "read_ljspeech", "read_table"]

FOLDERS = (".", "clips", "wavs", "wav", "audio", "..")  # where audio lies, from the table
LONGEST_FIELD = 64  # characters: what is longer describes no group of utterances
COMMON_VOICE = ("train", "dev", "test")


def read_table(path: Path, options: ReadOptions) -> Found:
    """A table with a row for each utterance; its columns are named by the user or guessed.

    Raises:
        CorpusError: see :func:`recipes.custom.rows.read_rows` and ``choose_columns``.
    """
    rows = read_rows(path, options.columns, options.delimiter)
    if not rows:
        raise CorpusError("the table has no rows", where=str(path), remedy="check the file")
    files = _Files(path.parent, options.audio_dir)
    names = list(dict.fromkeys(name for row in rows for name in row.cells or ()))
    given = dict(options.columns)
    if all(name.isdecimal() for name in names) and not {"audio", "text"} <= given.keys():
        given |= _guess_by_content(rows, given, files)
    columns = choose_columns(names, given, str(path))
    found = Found(path.parent)
    found.remarks.append("columns: " + ", ".join(f"{k}={v}" for k, v in columns.items()))
    for row in rows:
        _add(found, row, columns, files)
    return found


def read_common_voice(path: Path, options: ReadOptions) -> Found:
    """A language of Common Voice: ``clips/`` and its tables, of which train, dev and test count.

    Raises:
        CorpusError: none of them is there, or see :func:`read_table`.
    """
    tables = [path / f"{split}.tsv" for split in COMMON_VOICE]
    tables = [table for table in tables if table.is_file()]
    if not tables:
        raise CorpusError(
            "no train.tsv, dev.tsv or test.tsv here",
            where=str(path),
            remedy="give a table alone, as validated.tsv, to have it divided",
        )
    found = Found(path)
    for table in tables:
        part = read_table(table, options)
        found.bad += part.bad
        found.remarks += [f"{table.name}: {remark}" for remark in part.remarks]
        found.entries += [replace(entry, split=table.stem) for entry in part.entries]
    return found


def read_ljspeech(path: Path, options: ReadOptions) -> Found:
    """LJSpeech: ``metadata.csv`` of ``id|text|text in words`` and ``wavs/``; one speaker.

    Raises:
        CorpusError: the table cannot be read.
    """
    table = path / "metadata.csv"
    files = _Files(path, options.audio_dir)
    found = Found(path)
    for row in read_rows(table, {}, "|", header=False):
        cells = list((row.cells or {}).values())
        if len(cells) not in (2, 3):
            found.leave_out("(no id)", row.where, "not id|text or id|text|text in words")
            continue
        text = next((cell for cell in reversed(cells[1:]) if cell.strip()), None)
        audio = files.find(cells[0])
        found.entries.append(Entry(row.where, audio, text, id=cells[0], speaker=path.name))
    return found


class _Files:
    """Finds the files that a table names."""

    def __init__(self, folder: Path, audio_dir: Path | None) -> None:
        self._folders = [audio_dir] if audio_dir else [folder / name for name in FOLDERS]

    def find(self, name: str) -> Path:
        """The file of that name; where there is none, where it should be."""
        for folder in self._folders:
            for suffix in ("", *AUDIO_SUFFIXES):
                path = folder / f"{name}{suffix}"
                if path.is_file():
                    self._folders.remove(folder)
                    self._folders.insert(0, folder)  # it has the next one too
                    return path
        return self._folders[0] / name


def _guess_by_content(
    rows: Sequence[Row], given: Mapping[str, str], files: _Files
) -> dict[str, str]:
    """Columns without names: that of files, and the text, if there is but one other."""
    cells = rows[0].cells or {}
    left = [name for name in cells if name not in given.values()]
    guess = {}
    if "audio" not in given:
        audio = next(
            (name for name in left if cells[name] and files.find(cells[name]).is_file()), None
        )
        if audio is None:
            return {}
        guess["audio"] = audio
        left.remove(audio)
    if "text" not in given and len(left) == 1:
        guess["text"] = left[0]
    return guess


def _add(found: Found, row: Row, columns: Mapping[str, str], files: _Files) -> None:
    if row.cells is None:
        found.leave_out("(no id)", row.where, "not as many columns as the first row has")
        return
    values = {kind: _cell(row.cells.get(name)) for kind, name in columns.items()}
    name = values.get("id") or values["audio"] or "(no id)"
    try:
        start, duration = _span(values)
        channel = int(values["channel"]) if values.get("channel") else None
    except ValueError as error:
        found.leave_out(name, row.where, f"not a time or a channel: {error}")
        return
    if not values["audio"]:
        found.leave_out(name, row.where, "no audio is named")
        return
    found.entries.append(
        Entry(
            row.where,
            files.find(values["audio"]),
            values["text"],
            id=values.get("id") or "",
            speaker=values.get("speaker") or None,
            split=values.get("split") or None,
            start=start,
            duration=duration,
            channel=channel,
            fields=_fields(row.cells, columns),
        )
    )


def _cell(value: Any) -> str:
    """The text of a cell; of an audio object of `datasets`, its path."""
    if isinstance(value, Mapping):
        value = value.get("path")
    return "" if value is None else str(value).strip()


def _span(values: Mapping[str, str]) -> tuple[float, float | None]:
    start = _seconds(values.get("start")) or 0.0
    duration, end = _seconds(values.get("duration")), _seconds(values.get("end"))
    return start, duration if end is None else end - start


def _seconds(cell: str | None) -> float | None:
    if not cell:
        return None
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(f"{cell!r}")
    return value


def _fields(cells: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """What else a row tells."""
    others = {name: _cell(value) for name, value in cells.items() if name not in columns.values()}
    return {
        name: value
        for name, value in others.items()
        if value and len(value) <= LONGEST_FIELD and name not in KINDS
    }
