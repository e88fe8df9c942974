"""Data sets that `datasets` saved on disk (``save_to_disk``): Arrow files, read by pyarrow."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from asr.extras import import_extra
from asr.types import CorpusError
from recipes.custom.columns import choose_columns
from recipes.custom.entries import Entry, Found, Made, ReadOptions

__all__ = ["is_dataset", "read_dataset"]

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
DESCRIBE = ("Value", "ClassLabel")  # kinds of features that describe an utterance
REMEDY = "write it again by save_to_disk"


def is_dataset(path: Path) -> bool:
    """Whether a folder is a data set, or a dictionary of them."""
    return (path / DICT).is_file() or (path / STATE).is_file()


def read_dataset(path: Path, options: ReadOptions) -> Found:
    """The rows of a data set with their splits.

    Raises:
        CorpusError: a file is missing or damaged, or no column holds audio or text.
        MissingPackageError: pyarrow is not installed.
    """
    found = Found(path)
    if (path / DICT).is_file():
        for split in _json(path / DICT).get("splits", []):
            _read_split(found, path / split, split, options)
    else:
        _read_split(found, path, None, options)
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot read: {error}", where=str(path), remedy=REMEDY) from None
    if not isinstance(value, dict):
        raise CorpusError("not an object of JSON", where=str(path), remedy=REMEDY)
    return value


def _read_split(found: Found, folder: Path, split: str | None, options: ReadOptions) -> None:
    state, features = _json(folder / STATE), _json(folder / INFO).get("features") or {}
    table = _table(folder, [file["filename"] for file in state.get("_data_files", [])])
    given = dict(options.columns)
    sounds = [name for name, kind in features.items() if kind.get("_type") == "Audio"]
    if sounds and "audio" not in given:
        given["audio"] = sounds[0]
    columns = choose_columns(table.column_names, given, str(folder))
    remark = "columns: " + ", ".join(f"{k}={v}" for k, v in columns.items())
    if remark not in found.remarks:
        found.remarks.append(remark)
    cells = {
        kind: _Cells(table.column(name), features.get(name) or {}) for kind, name in columns.items()
    }
    others = {
        name: _Cells(table.column(name), features.get(name) or {})
        for name in table.column_names
        if name not in columns.values() and features.get(name, {}).get("_type") in DESCRIBE
    }
    split = split or state.get("_split")
    for row in range(table.num_rows):
        where = f"{folder}, row {row + 1}"
        audio = cells["audio"].audio(row, where, f"{split or folder.name}-{row:07d}")
        if audio is None:
            found.leave_out(f"row {row + 1}", str(folder), "no audio")
            continue
        told = {kind: column.text(row) for kind, column in cells.items() if kind != "audio"}
        found.entries.append(
            Entry(
                where,
                audio,
                told["text"],
                id=told.get("id")
                or (audio.name.partition(".")[0] if isinstance(audio, Made) else ""),
                speaker=told.get("speaker") or None,
                split=told.get("split") or split,
                fields={n: c.text(row) for n, c in others.items() if c.text(row)},
            )
        )


def _table(folder: Path, names: list[str]) -> Any:
    """All rows, as they lie on the disk: nothing is read before it is looked at."""
    import_extra("pyarrow", "hf", "data sets of `datasets`")
    import pyarrow
    from pyarrow import ipc

    tables = []
    for name in names:
        try:
            tables.append(ipc.open_stream(pyarrow.memory_map(str(folder / name))).read_all())
        except (OSError, pyarrow.ArrowException) as error:
            raise CorpusError(
                f"cannot read: {error}", where=str(folder / name), remedy=REMEDY
            ) from None
    if not tables:
        raise CorpusError("the data set has no files", where=str(folder), remedy=REMEDY)
    return pyarrow.concat_tables(tables)


class _Cells:
    """A column, whose numbers may stand for names of classes."""

    def __init__(self, column: Any, feature: dict[str, Any]) -> None:
        self._column = column
        self._names = feature.get("names") if feature.get("_type") == "ClassLabel" else None

    def text(self, row: int) -> str:
        value = self._column[row].as_py()
        if value is None:
            return ""
        return str(self._names[value]) if self._names else str(value)

    def audio(self, row: int, where: str, name: str) -> Path | Made | None:
        """The file of a row, or the bytes in it."""
        value = self._column[row]
        if not hasattr(value.type, "fields") and not str(value.type).startswith("struct"):
            return Path(value.as_py()) if value.as_py() else None
        path = value["path"].as_py() if value.is_valid else None
        if value.is_valid and value["bytes"].is_valid:
            suffix = Path(path or ".wav").suffix or ".wav"
            return Made(f"{name}{suffix}", where, partial(self._bytes, row))
        return Path(path) if path else None

    def _bytes(self, row: int) -> bytes:
        return bytes(self._column[row]["bytes"].as_py())
