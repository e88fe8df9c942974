"""What a job has done: a file of JSON lines, one for each recording, that the next run reads.

The first line has the job's settings. A line is added when a recording's result stands in its
place, so that whatever ends a run, none is lost and none is done twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asr.types import AsrError, ConfigError

__all__ = ["Manifest", "check_others", "open_manifest"]

BEGINNING = b'{"job":'
Settings = Mapping[str, str]
State = tuple[int, int]  # of a recording: bytes, and when it was changed


class Manifest:
    """The open file; one process has it at a time."""

    def __init__(self, file: BinaryIO, folder: Path, done: dict[str, dict[str, Any]]) -> None:
        self._file = file
        self._folder = folder
        self._done = done
        self._owners = {line["result"]: name for name, line in done.items() if "result" in line}
        self._states: dict[str, State | None] = {}

    def is_done(self, recording: str, result: Path) -> bool:
        """Whether ``result`` is that of ``recording`` as it is now. What failed is not done.

        Raises:
            ConfigError: it is another recording's.
        """
        self._states[recording] = state = _state(recording)
        name = self._name(result)
        if (owner := self._owners.get(name, recording)) != recording:
            raise ConfigError(
                f"this is the result of {owner}, and would be that of {recording}",
                where=str(result),
                remedy="give another folder",
            )
        line = self._done.get(recording, {})
        known = line.get("bytes"), line.get("modified"), line.get("result")
        return state is not None and known == (*state, name) and result.is_file()

    def add(self, recording: str, result: Path | AsrError) -> None:
        """Note what became of a recording that :meth:`is_done` was asked about before."""
        line: dict[str, Any] = {"file": recording}
        if isinstance(result, AsrError):
            line["error"] = result.public_message()
        else:
            line["bytes"], line["modified"] = self._states.get(recording) or (None, None)
            line["result"] = self._name(result)
        self._write(line)
        self._done[recording] = line

    def _name(self, result: Path) -> str:
        return os.path.relpath(result, self._folder)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode("ascii") + b"\n")  # whatever names are made of
        self._file.flush()


@contextmanager
def open_manifest(path: Path, settings: Settings) -> Iterator[Manifest]:
    """The manifest at ``path``, begun if there is none.

    Raises:
        ConfigError: another run has it, it is of a job with other settings, or is no manifest.
    """
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                "another run is at work here", where=str(path), remedy="wait for it, or end it"
            ) from None
        lines = _lines(file, path)
        _check_settings(lines, settings, path)
        manifest = Manifest(file, path.parent, {line["file"]: line for line in lines[1:]})
        if not lines:
            manifest._write({"job": dict(settings)})
        yield manifest


def check_others(paths: Iterable[Path], settings: Settings) -> None:
    """Refuse manifests of other parts of a job that have other settings.

    Raises:
        ConfigError: one has, or is no manifest.
    """
    for path in paths:
        with open(path, "rb") as file:
            first = file.readline()
        if first.endswith(b"\n"):  # else it is being begun
            _check_settings([_line(first, f"{path}:1", "job")], settings, path)


def _lines(file: BinaryIO, path: Path) -> list[dict[str, Any]]:
    """What is there; a last line that was not finished is taken away."""
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    lines = [
        _line(text, f"{path}:{number}", "file" if number > 1 else "job")
        for number, text in enumerate(data[:whole].splitlines(), start=1)
    ]
    if not lines and not data.startswith(BEGINNING[: len(data)]):
        raise _no_line(f"{path}:1")
    file.truncate(whole)
    return lines


def _line(text: bytes, where: str, name: str) -> dict[str, Any]:
    """A line that has a recording's file, or the job's settings, under ``name``."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        raise _no_line(where) from None
    if not isinstance(line, dict) or not isinstance(line.get(name), dict if name == "job" else str):
        raise _no_line(where)
    if not isinstance(line.get("result", ""), str):
        raise _no_line(where)
    return line


def _no_line(where: str) -> ConfigError:
    return ConfigError(
        "this is no line of a job's manifest",
        where=where,
        remedy="give another folder, or delete this file to begin anew",
    )


def _check_settings(lines: list[dict[str, Any]], settings: Settings, path: Path) -> None:
    if not lines:
        return
    before = lines[0]["job"]
    for name in sorted({*before, *settings}):
        if before.get(name) != settings.get(name):
            raise ConfigError(
                f"the results here are of a job with another {name}: "
                f"{before.get(name)}, not {settings.get(name)}",
                where=str(path),
                remedy="give another folder, or the same options",
            )


def _state(recording: str) -> State | None:
    try:
        found = os.stat(recording)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
