"""What every form of a corpus becomes: entries, each with the place that it is from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recipes.common.corpus import LeftOut

__all__ = ["Entry", "Found", "Made", "ReadOptions"]


@dataclass(frozen=True)
class Made:
    """A recording that is no file yet: what a command prints, or bytes in a table.

    Attributes:
        name: of the file to be made.
        where: what it is made of, for messages; another for each recording.
        make: returns its bytes, or raises AsrError.
    """

    name: str
    where: str
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Entry:
    """One utterance as a corpus has it; None and "" where the corpus does not tell.

    Attributes:
        where: file and line, for messages.
        audio: the recording.
        text: what is said.
        id: a name of its own.
        speaker: who says it.
        split: the corpus' own word for the part that it belongs to.
        start: seconds of the recording before it.
        duration: seconds; None: to the end.
        channel: of the recording, from 0; None: the mean of all.
        byte_order: of a ``.raw`` file.
        fields: what else is known, by name.
    """

    where: str
    audio: Path | Made
    text: str | None
    id: str = ""
    speaker: str | None = None
    split: str | None = None
    start: float = 0.0
    duration: float | None = None
    channel: int | None = None
    byte_order: str = "little"
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def recording(self) -> str:
        """The recording's name."""
        return self.audio.name if isinstance(self.audio, Made) else str(self.audio)


@dataclass
class Found:
    """What a form has: entries, what cannot be one, and what to tell the user of how it was read.

    ``root`` is the folder that names of files are relative to.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    bad: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def leave_out(self, name: str, where: str, why: str) -> None:
        """Note an utterance that cannot be used."""
        self.bad.append(LeftOut(name, where, why))


@dataclass(frozen=True)
class ReadOptions:
    """How to read a corpus, where its form leaves that open.

    Attributes:
        columns: names or numbers (from 1) of a table's columns, by what they hold.
        delimiter: between the columns.
        audio_dir: the folder that a table's paths are relative to.
        run_commands: whether commands in ``wav.scp`` may be run.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    audio_dir: Path | None = None
    run_commands: bool = False
