"""Kaldi's data directories: ``wav.scp``, ``segments``, ``text``, ``utt2spk`` and the like.

A line of ``wav.scp`` ends in a file or in a command whose output is the recording. Commands are
code: they are run only if the user says so. Those that only unpack a file that is read here
(sph2pipe, flac, cat) need not be run.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from asr.files.read import read_lines
from asr.types import AudioError, CorpusError
from recipes.custom.commands import output_of
from recipes.custom.entries import Entry, Found, Made, ReadOptions

__all__ = ["is_kaldi", "read_kaldi"]

REMEDY = "see Kaldi's own page on data preparation for the form of these files"
DECODE = {"d", "--decode"}  # flac's options
HARMLESS = {"c", "--stdout", "s", "--silent", "--totally-silent"}  # likewise
END = -1.0  # of a segment: that of the recording


class Field(NamedTuple):
    """What a line says of its key."""

    where: str
    value: str


def is_kaldi(path: Path) -> bool:
    """Whether ``path`` is such a directory, or has some in it."""
    return path.is_dir() and bool(_directories(path))


def _directories(path: Path) -> list[Path]:
    if (path / "wav.scp").is_file():
        return [path]
    return sorted(child for child in path.iterdir() if (child / "wav.scp").is_file())


def read_kaldi(path: Path, options: ReadOptions) -> Found:
    """A data directory, or the directories in a folder: train, dev and so on.

    Raises:
        CorpusError: a file is missing or broken, or a key is there twice.
    """
    found = Found(path)
    for directory in _directories(path):
        _read_directory(found, directory, options)
    return found


def _read_directory(found: Found, directory: Path, options: ReadOptions) -> None:
    recordings = _table(directory / "wav.scp")
    texts = _table(directory / "text")
    known = _Known(directory)
    if (directory / "segments").is_file():
        spans = {name: _span(line) for name, line in _table(directory / "segments").items()}
    else:
        spans = {name: Span(line.where, name) for name, line in recordings.items()}
    for name in texts.keys() - spans.keys():
        found.leave_out(name, texts[name].where, "no such recording or segment")
    for name, span in spans.items():
        if span.recording not in recordings:
            found.leave_out(name, span.where, f"wav.scp has no recording {span.recording}")
            continue
        try:
            audio, channel = _audio(span.recording, recordings[span.recording], directory, options)
        except AudioError as error:
            found.leave_out(name, str(error.where), f"{error.what} ({error.remedy})")
            continue
        text = texts.get(name)
        found.entries.append(
            Entry(
                text.where if text else span.where,
                audio,
                text.value if text else None,
                id=name,
                speaker=known.speaker(name),
                split=directory.name,
                start=span.start,
                duration=span.duration,
                channel=channel if span.channel is None else span.channel,
                fields=known.fields(name),
            )
        )


def _table(path: Path) -> dict[str, Field]:
    """What each line of a file says of its first word.

    Raises:
        CorpusError: the file cannot be read, or a key is there twice.
    """
    fields: dict[str, Field] = {}
    for line in read_lines(path, CorpusError, remedy=REMEDY):
        key, *rest = line.text.split(maxsplit=1)
        if key in fields:
            raise CorpusError(
                f"{key} stands at {fields[key].where} too", where=line.where, remedy="keep one"
            )
        fields[key] = Field(line.where, rest[0].strip() if rest else "")
    return fields


class Span(NamedTuple):
    """A segment: the part of a recording that an utterance is."""

    where: str
    recording: str
    start: float = 0.0
    duration: float | None = None
    channel: int | None = None


def _span(line: Field) -> Span:
    parts = line.value.split()
    try:
        recording, start, end, *more = parts
        times = float(start), float(end)
        channel = int(more[0]) if more else None
    except (ValueError, IndexError):
        raise CorpusError(
            "not 'utterance recording begin end'", where=line.where, remedy=REMEDY
        ) from None
    duration = None if times[1] == END else times[1] - times[0]
    return Span(line.where, recording, times[0], duration, channel)


class _Known:
    """What the files called utt2… and spk2… tell of utterances."""

    def __init__(self, directory: Path) -> None:
        self._speakers = self._read_speakers(directory)
        self._of: dict[str, tuple[str, dict[str, Field]]] = {}
        for path in sorted([*directory.glob("utt2*"), *directory.glob("spk2*")]):
            kind, _, what = path.name.partition("2")
            if what not in ("spk", "utt", "dur", "num_frames", "uniq"):
                self._of[what] = (kind, _table(path))

    @staticmethod
    def _read_speakers(directory: Path) -> Mapping[str, str]:
        path = directory / "utt2spk"
        if not path.is_file():
            if not (directory / "spk2utt").is_file():
                return {}
            lines = _table(directory / "spk2utt").items()
            return {name: speaker for speaker, line in lines for name in line.value.split()}
        speakers = {name: line.value for name, line in _table(path).items()}
        # Where nobody knows who speaks, each utterance is called a speaker of its own.
        return {} if all(name == speaker for name, speaker in speakers.items()) else speakers

    def speaker(self, utterance: str) -> str | None:
        return self._speakers.get(utterance) or None

    def fields(self, utterance: str) -> dict[str, str]:
        told = {}
        for what, (kind, table) in self._of.items():
            key = self._speakers.get(utterance, "") if kind == "spk" else utterance
            if key in table:
                told[what] = table[key].value
        return told


def _audio(
    name: str, line: Field, directory: Path, options: ReadOptions
) -> tuple[Path | Made, int | None]:
    """The recording of a line of ``wav.scp``, and the channel of it, if it is one.

    Raises:
        AudioError: it is a command, and none may be run; or a part of an archive.
    """
    if not line.value.endswith("|"):
        path = _file(line.value, directory)
        if not path.is_file() and line.value.rpartition(":")[2].isdecimal():
            raise AudioError(
                f"{line.value} is a place in an archive",
                where=line.where,
                remedy="write the recordings as files, with wav-copy",
            )
        return path, None
    command = line.value.rstrip("|").strip()
    unpacked = _unpacked(command)
    if unpacked is not None:
        return _file(unpacked[0], directory), unpacked[1]
    return output_of(command, name, line.where, options), None


def _file(name: str, directory: Path) -> Path:
    """Kaldi's names are relative to where its scripts run: the directory or a folder above it."""
    places = [directory, *directory.absolute().parents[:2], Path()]
    return next((place / name for place in places if (place / name).is_file()), directory / name)


def _unpacked(command: str) -> tuple[str, int | None] | None:
    """The file that a command only unpacks, and the channel of it, if it takes one; or None."""
    try:
        program, *words = shlex.split(command)
    except ValueError:
        return None
    program = program.rpartition("/")[2]
    if program == "sph2pipe":
        return _of_sph2pipe(words)
    options, files = [w for w in words if w.startswith("-")], [w for w in words if w[:1] != "-"]
    decodes = program == "flac" and _only_decode(options)
    if len(files) == 1 and (decodes or (program == "cat" and not options)):
        return files[0], None
    return None


def _only_decode(options: Sequence[str]) -> bool:
    """Whether flac's options are to decode the whole file, and nothing else."""
    told = {each for word in options for each in ([word] if word[:2] == "--" else word[1:] or "-")}
    return bool(told & DECODE) and told <= DECODE | HARMLESS


def _of_sph2pipe(words: list[str]) -> tuple[str, int | None] | None:
    """sph2pipe's options that change nothing here, and its channel, counted from 1."""
    channel, files, words = None, [], list(words)
    while words:
        word = words.pop(0)
        if word in ("-f", "-c") and words:
            value = words.pop(0)
            channel = int(value) - 1 if word == "-c" and value.isdecimal() else channel
        elif word in ("-p", "-u", "-a"):
            continue
        elif word.startswith("-"):
            return None  # a part of the file: it has to be run
        else:
            files.append(word)
    return (files[0], channel) if len(files) == 1 else None
