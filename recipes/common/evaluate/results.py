"""Where results are kept: under names that tell split and decoder, with all options beside."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from asr.decoding import BeamOptions, DecoderOptions, WfstOptions
from asr.files.write import write_text

__all__ = [
    "ResultFiles",
    "add_summary",
    "decoder_label",
    "place_results",
    "release",
    "write_facts",
]

SUMMARY = "summary.csv"
MAX_NAME = 150  # bytes; disks take 255, and endings follow


def decoder_label(options: DecoderOptions, *, lm: bool, lexicon: bool, phrases: bool) -> str:
    """What a file's name tells of a decoder: ``greedy``, ``beam-64-lm``, ``wfst-GRAPH``."""
    parts = [options.name]
    if isinstance(options, BeamOptions):
        parts += [str(options.beam_width), *(["lm"] if lm and options.lm_weight else [])]
        parts += [*(["lexicon"] if lexicon else []), *(["phrases"] if phrases else [])]
    if isinstance(options, WfstOptions):
        parts.append(Path(options.graph).resolve().name)
    return "-".join(parts)


@dataclass(frozen=True)
class ResultFiles:
    """The files of one result: all have its name, and an ending each."""

    folder: Path
    name: str

    def __getitem__(self, ending: str) -> Path:
        """The file with that ending."""
        return self.folder / f"{self.name}.{ending}"

    @property
    def rows(self) -> Path:
        """A JSON line for each utterance."""
        return self["jsonl"]

    @property
    def facts(self) -> Path:
        """What was evaluated and with which options, and the rates that came of it."""
        return self["json"]

    def all(self) -> list[Path]:
        """Those that are always written."""
        return [self.rows, self.facts, self["alignments.txt"], self.folder / SUMMARY]


def place_results(
    folder: Path,
    parts: Sequence[str],
    options: Mapping[str, Any],
    check: Callable[[Path], None] = lambda path: None,
) -> ResultFiles:
    """The files for a result with a name of ``parts``, and a number where the name is taken.

    Only what was made with the same ``options`` (plain values) is replaced. ``check`` is told each
    file that may be. Whoever looks for a name from now on finds this one taken.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = ".".join(parts).encode()[:MAX_NAME].decode(errors="ignore")
    for number in count(1):
        files = ResultFiles(folder, name if number == 1 else f"{name}-{number}")
        for path in files.all():
            check(path)
        if _options_of(files) == json.loads(json.dumps(options)):
            return files
        if not files.rows.exists() and _reserve(files, options):
            return files
    raise AssertionError("numbers have no end")


def _reserve(files: ResultFiles, options: Mapping[str, Any]) -> bool:
    """Take the name for ``options``; False if someone else has it."""
    try:
        with files.facts.open("x", encoding="utf-8") as file:
            json.dump({"options": options, "results": None}, file)
    except FileExistsError:
        return False
    return True


def release(files: ResultFiles) -> None:
    """Give a name back if no result came of it."""
    if not files.rows.exists():
        files.facts.unlink(missing_ok=True)


def _options_of(files: ResultFiles) -> Any:
    """The options of a result that is there; None where they cannot be read."""
    try:
        return json.loads(files.facts.read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def write_facts(files: ResultFiles, options: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write the options and the rates beside the rows.

    Raises:
        OSError: the file cannot be written.
    """
    facts = {"options": options, "results": results}
    write_text(files.facts, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def add_summary(folder: Path, values: Mapping[str, Any]) -> Path:
    """Add a line to the folder's ``summary.csv``, whoever else does at the same time.

    Values without a column in a table that is there are left out: the facts have them.

    Raises:
        OSError: it cannot be written; what stood there is as it was.
    """
    path = folder / SUMMARY
    with suppress(FileExistsError), path.open("x", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(values)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        header = next(csv.reader(file), None) or list(values)
    line = io.StringIO()
    csv.DictWriter(line, header, extrasaction="ignore").writerow(values)
    with path.open("a", encoding="utf-8", newline="") as file:
        end = file.tell()
        try:
            file.write(line.getvalue())  # in one piece, which goes behind that of any other process
            file.flush()
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise
    return path
