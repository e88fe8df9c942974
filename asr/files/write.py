"""Results that appear whole or not at all, that never replace what they were made of, and that
whoever the umask lets may read.

A file or folder is written beside its place and renamed. What is no file, such as ``/dev/stdout``
or a named pipe, is written as it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from asr.files.read import STDIN
from asr.types import ConfigError

__all__ = [
    "PARTIAL",
    "Guard",
    "check_target",
    "check_writable",
    "replace_file",
    "replace_folder",
    "replace_text",
    "write_bytes",
    "write_text",
]

STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
DESCRIPTORS = ("/dev/fd", "/proc/self/fd")
PARTIAL = ".partial"  # the end of the name of what an interruption left

StrPath = str | os.PathLike[str]


class Guard:
    """Knows what is read, so that nothing is written over it.

    A name counts for the file it leads to, by whatever links, and ``-`` for that of standard input.
    Of an input that is a folder, each file in it counts. None is no input.
    """

    def __init__(self, inputs: Iterable[StrPath | None]) -> None:
        self._inputs = [Path(name) for name in inputs if name is not None]
        self._known: dict[tuple[int, int], Path] = {}
        for place in self._inputs:
            for file in (place, *_files_in(place)):
                with suppress(OSError):  # what is not there cannot be lost
                    self._known.setdefault(_identity(file), place)
        if Path(STDIN) in self._inputs:
            with suppress(OSError, ValueError, AttributeError):  # it is closed
                self._known.setdefault(_identity(sys.stdin.fileno()), Path("standard input"))

    def check(self, target: StrPath) -> None:
        """Refuse to write ``target`` if an input would be lost. Of a folder, all is replaced.

        Raises:
            ConfigError: one would be.
        """
        place = Path(target)
        lost: Path | None = None
        if place.is_dir():
            whole = _real(place)  # of links that lead to themselves as well
            inside = (i for i in self._inputs if _real(i).is_relative_to(whole))
            lost = next(inside, None)
        elif place.is_file():
            lost = self._known.get(_identity(place))
        if lost is not None:
            raise ConfigError(
                f"this would be written over {lost}, which is read",
                where=os.fspath(target),
                remedy="give another name to write to",
            )


def check_target(target: StrPath, inputs: Iterable[StrPath | None]) -> None:
    """Refuse to write ``target`` if one of ``inputs`` would be lost; see :class:`Guard`.

    Raises:
        ConfigError: one would be.
    """
    Guard(inputs).check(target)


def check_writable(path: StrPath) -> None:
    """Refuse a place where no file or folder can be written, before the work that is for it.

    Raises:
        ConfigError: nothing can.
    """
    given = Path(path)
    is_special = given.exists() and not (given.is_file() or given.is_dir())
    if is_special or _descriptor(given) is not None:
        return
    draft = _beside(_real(given))
    try:
        draft.touch(exist_ok=False)
        draft.unlink()
    except OSError as error:
        raise ConfigError(
            f"nothing can be written there: {error.strerror}",
            where=os.fspath(path),
            remedy="choose another place, or mend this one",
        ) from None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _files_in(place: Path) -> list[Path]:
    return [file for file in place.iterdir() if file.is_file()] if place.is_dir() else []


def _identity(file: Path | int) -> tuple[int, int]:
    """The same for all names and descriptors of a file."""
    status = os.stat(file)
    return status.st_dev, status.st_ino


def write_text(path: StrPath, text: str) -> None:
    """Write ``text`` as UTF-8. What UTF-8 cannot express becomes a question mark.

    Raises:
        OSError: the file cannot be written; what stood there is as it was.
    """
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write ``data``.

    Raises:
        OSError: the file cannot be written; what stood there is as it was.
    """
    with _named(path), replace_file(path) as stream:
        stream.write(data)


@contextmanager
def replace_text(path: StrPath) -> Iterator[TextIO]:
    """As :func:`replace_file`, for text, as :func:`write_text` writes it, that may take long to
    come: what was written before an interruption (Ctrl-C) is kept as ``PATH.partial``.
    """
    with (
        _draft_of(path, keep=True) as draft,
        open(draft, "w", encoding="utf-8", errors="replace") as stream,
    ):
        yield stream


@contextmanager
def replace_file(path: StrPath) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file ``path`` when the context ends without an exception.

    The new file has the mode of the one it replaces, or that of the umask.

    Raises:
        OSError: the file cannot be written; what stood there is as it was.
    """
    with _draft_of(path) as draft, open(draft, "wb") as stream:
        yield stream


@contextmanager
def _draft_of(path: StrPath, *, keep: bool = False) -> Iterator[Path | int]:
    """A file beside ``path`` that replaces it, or ``path`` itself if it is no file.

    What is called by a descriptor, as ``/dev/stdout`` is, is written to at its place, though it may
    lead to a file.
    """
    given = Path(path)
    if (number := _descriptor(given)) is not None:
        yield os.dup(number)
        return
    if given.exists() and not given.is_file():
        yield given  # a folder says so when it is opened
        return
    target = Path(os.path.realpath(given))  # the file is replaced, not a link to it
    draft = _beside(target)
    try:
        with _named(path):
            draft.touch(exist_ok=False)
            if target.exists():
                shutil.copymode(target, draft)
        yield draft
        with _named(path):
            draft.replace(target)
    except KeyboardInterrupt:
        if keep and draft.stat().st_size:
            draft.replace(target.with_name(target.name + PARTIAL))
        raise
    finally:
        draft.unlink(missing_ok=True)


def _descriptor(path: Path) -> int | None:
    """The descriptor that a name like ``/dev/stdout`` or ``/dev/fd/3`` means, or None."""
    name = os.path.abspath(path)
    if name in STANDARD:
        return STANDARD[name]
    folder, _, number = name.rpartition("/")
    return int(number) if folder in DESCRIPTORS and number.isdecimal() else None


@contextmanager
def replace_folder(path: StrPath) -> Iterator[Path]:
    """An empty folder that becomes ``path``, with what is written into it, when the context ends
    without an exception. A folder that stands there is put back should that fail.

    Raises:
        OSError: the folder cannot be written; what stood there is as it was.
    """
    target = Path(os.path.realpath(path))
    draft, old = _beside(target), _beside(target)
    try:
        with _named(path):
            draft.mkdir()
        yield draft
        _give_to_read(draft)
        if not target.exists():
            draft.rename(target)
            return
        target.rename(old)
        draft.rename(target)
    finally:
        if old.exists() and not target.exists():  # also after an interruption between the two
            old.rename(target)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _give_to_read(folder: Path) -> None:
    """Give the files in ``folder``, which libraries may have made private, the umask's mode.

    The folder itself was made with it.
    """
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(mode if path.is_dir() else mode & 0o666)


def _beside(target: Path) -> Path:
    """A name that is free, in the same folder and so on the same disk.

    It is short, for the longest name that a disk takes cannot grow.
    """
    return target.with_name(f".{secrets.token_hex(8)}{PARTIAL}")


@contextmanager
def _named(path: StrPath) -> Iterator[None]:
    """Errors that name what the user knows, not the draft."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
