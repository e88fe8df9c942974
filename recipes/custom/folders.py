"""Folders of recordings: a text beside each, or what is said in the names of the files."""

from __future__ import annotations

import re
from pathlib import Path

from asr.files.find import SUFFIXES, files_below
from asr.files.read import read_text
from asr.types import ConfigError, CorpusError
from recipes.custom.entries import Entry, Found, ReadOptions

__all__ = ["AUDIO_SUFFIXES", "NamePattern", "is_audio", "read_folder"]

AUDIO_SUFFIXES = (
    *SUFFIXES,
    *(".mp3", ".m4a", ".mp4", ".aac", ".webm", ".mkv", ".mka", ".wma", ".amr", ".3gp", ".raw"),
)
TEXT_SUFFIXES = (".txt", ".lab")
FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")


def is_audio(path: Path) -> bool:
    """Whether a file is called as recordings are."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def read_folder(path: Path, options: ReadOptions) -> Found:
    """The recordings below ``path``, each with the text beside it, if there is one.

    Raises:
        CorpusError: there is no recording, or a text is not UTF-8.
        OSError: a folder cannot be read.
    """
    found = Found(path)
    files = list(files_below(path))
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() in TEXT_SUFFIXES}
    recordings = [file for file in files if is_audio(file)]
    if not recordings:
        raise CorpusError("no recordings here", where=str(path), remedy=", ".join(AUDIO_SUFFIXES))
    for file in recordings:
        text = texts.pop(file.with_suffix(""), None)
        said = None if text is None else read_text(text, CorpusError)
        within = file.relative_to(path).parts
        split = within[0] if len(within) > 1 else None
        found.entries.append(Entry(str(text or file), file, said, split=split))
    if len(texts) < len(recordings):  # notes beside them are no transcripts
        for stem, text in texts.items():
            if any(entry.text for entry in found.entries):
                found.leave_out(stem.name, str(text), "no recording beside this text")
    return found


class NamePattern:
    """What names of files tell: ``{text}_{speaker}_{take}`` of ``0_george_12.flac``.

    Without a slash the pattern is for the name alone, with one for the path from the folder on.
    Underscores in a text are spaces.

    Raises:
        ConfigError: the pattern names nothing, or one thing twice.
    """

    def __init__(self, pattern: str) -> None:
        names = FIELD.findall(pattern)
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"--name-pattern {pattern!r} has to name things, each once",
                remedy="write, for example, '{speaker}_{text}' or '{speaker}/{id}'",
            )
        self.names = frozenset(names)
        self._has_folders = "/" in pattern
        self._pattern = re.compile(_expression(pattern))

    def match(self, path: Path, root: Path) -> dict[str, str] | None:
        """What the name of ``path`` tells, by name; None: it is not as the pattern."""
        stem = path.with_suffix("")
        if self._has_folders and path.is_relative_to(root):
            stem = stem.relative_to(root)
        match = self._pattern.fullmatch(stem.as_posix() if self._has_folders else stem.name)
        if match is None:
            return None
        told = match.groupdict()
        if "text" in told:
            told["text"] = told["text"].replace("_", " ")
        return told


def _expression(pattern: str) -> str:
    """A text may be anything; other things end where the next letter of the pattern begins."""
    pieces = FIELD.split(pattern)  # literal, name, literal, name, …, literal
    expression = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            expression += re.escape(piece)
            continue
        before, after = pieces[index - 1], pieces[index + 1]
        ends = re.escape((after or before)[:1])
        expression += f"(?P<{piece}>.+)" if piece == "text" else f"(?P<{piece}>[^/{ends}]+)"
    return expression
