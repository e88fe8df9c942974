"""The rows of a table, whatever it is written in: CSV, TSV, JSON, JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.files.read import read_text
from asr.types import CorpusError
from recipes.custom.columns import is_header

__all__ = ["TABLES", "Row", "read_rows"]

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
DELIMITERS = "\t|;,"
QUOTED = re.compile(r'"(?:[^"]|"")*"')
Z = ".gz"


class Row(NamedTuple):
    """A row: where it stands, and its cells by column; None where it has not as many as others."""

    where: str
    cells: dict[str, Any] | None


def read_rows(
    path: Path, given: Mapping[str, str], delimiter: str | None, *, header: bool = True
) -> list[Row]:
    """The rows of a table. Without a header columns are called by their numbers, from 1.

    ``header``: the first line is one if it looks like it; otherwise it never is.

    Raises:
        CorpusError: the file cannot be read, is empty, or is not what its name says.
    """
    text = read_text(path, CorpusError)
    if not text.strip():
        raise CorpusError("the table is empty", where=str(path), remedy="check the file")
    name = path.name.lower().removesuffix(Z)
    if name.endswith((".csv", ".tsv")):
        return list(_separated(path, text, given, delimiter, header=header))
    rows = _json_lines(path, text) if _is_lines(text) else _json(path, text)
    return [Row(where, _checked(where, cells)) for where, cells in rows]


def _separated(
    path: Path, text: str, given: Mapping[str, str], delimiter: str | None, *, header: bool
) -> Iterator[Row]:
    delimiter = delimiter or _delimiter(text)
    rows = _by_csv(path, text, delimiter) if delimiter in ",;" else _by_line(text, delimiter)
    number, first = next(rows)
    names = [str(index) for index in range(1, len(first) + 1)]
    if header and is_header(first, given):
        names = first
    else:
        yield Row(f"{path}, line {number}", dict(zip(names, first, strict=True)))
    for number, row in rows:
        same = len(row) == len(names)
        yield Row(f"{path}, line {number}", dict(zip(names, row, strict=True)) if same else None)


def _delimiter(text: str) -> str:
    """What stands most often in the first line, a tab before others."""
    first = next(line for line in text.split("\n") if line.strip())
    return "\t" if "\t" in first else max(DELIMITERS, key=first.count)


def _by_line(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Quotes are letters there, but for cells that are quoted as a whole."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, [_unquoted(cell) for cell in line.split(delimiter)]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if QUOTED.fullmatch(cell) else cell


def _by_csv(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"not CSV: {error}",
            where=f"{path}, line {number}",
            remedy="close the quotes, or name the delimiter by --delimiter",
        ) from None


def _is_lines(text: str) -> bool:
    """Whether each line is a JSON object of its own."""
    first = next(line for line in text.split("\n") if line.strip())
    try:
        return isinstance(json.loads(first), dict) and text.strip() != first.strip()
    except ValueError:
        return False


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _parsed(line, where)


def _json(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """A list of objects; objects by their ids; or an object, the only one."""
    value = _parsed(text, str(path))
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        value = [{"id": key, **cells} for key, cells in value.items()]
    rows: Sequence[Any] = value if isinstance(value, list) else [value]
    for number, cells in enumerate(rows, start=1):
        yield f"{path}, row {number}", cells


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CorpusError(f"not JSON: {error}", where=where, remedy="mend the line") from None


def _checked(where: str, cells: Any) -> dict[str, Any]:
    if not isinstance(cells, dict):
        raise CorpusError(
            "not an object of names and values", where=where, remedy="write one, or use CSV"
        )
    return {str(name): value for name, value in cells.items()}
