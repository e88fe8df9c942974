"""From the entries of any corpus to utterances, each with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from asr.audio import probe_file
from asr.types import AsrError, CorpusError
from recipes.common.corpus import LeftOut
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise
from recipes.custom.entries import Entry, Found
from recipes.custom.folders import NamePattern

__all__ = ["durations", "named", "told_by_names", "utterance_of"]

KNOWN = ("text", "speaker", "id", "split")


def told_by_names(found: Found, pattern: NamePattern) -> None:
    """Fill in what the names of recordings tell; those of other names are left out."""
    entries, found.entries = found.entries, []
    for entry in entries:
        told = pattern.match(Path(entry.recording), found.root)
        if told is None:
            name = Path(entry.recording).name
            found.leave_out(entry.id or name, entry.where, "its name is not as --name-pattern")
            continue
        more = {name: value for name, value in told.items() if name not in KNOWN}
        found.entries.append(
            replace(
                entry,
                text=told.get("text", entry.text),
                speaker=told.get("speaker", entry.speaker),
                id=told.get("id", entry.id),
                split=told.get("split", entry.split),
                fields={**entry.fields, **more},
            )
        )


def named(entries: Sequence[Entry]) -> list[Entry]:
    """Give a name to the entries that have none: that of the file, and its folders where needed.

    Raises:
        CorpusError: a corpus calls two utterances alike.
    """
    taken: dict[str, str] = {}
    for entry in entries:
        if entry.id:
            if entry.id in taken:
                raise CorpusError(
                    f"{entry.id} stands at {taken[entry.id]} too",
                    where=entry.where,
                    remedy="give each utterance an id of its own",
                )
            taken[entry.id] = entry.where
    nameless = [entry for entry in entries if not entry.id]
    fresh = _fresh_names(nameless, set(taken))
    return [entry if entry.id else next(fresh) for entry in entries]


def _fresh_names(entries: Sequence[Entry], taken: set[str]) -> Iterator[Entry]:
    stems = Counter(Path(entry.recording).stem for entry in entries)
    of_recording = Counter(entry.recording for entry in entries)
    numbers: dict[str, int] = {}  # the last that a name has got
    for entry in entries:
        path = Path(entry.recording)
        name = path.stem
        if stems[path.stem] > of_recording[entry.recording]:  # another file is called so
            name = f"{path.parent.name}-{name}"
        if of_recording[entry.recording] > 1:
            name += f"-{round(1000 * entry.start):08d}"
        free, number = name, numbers.get(name, 1)
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        numbers[name] = number
        taken.add(free)
        yield replace(entry, id=free)


def utterance_of(entry: Entry) -> Utterance | LeftOut:
    """The utterance of an entry whose recording is a file, or why there is none."""
    if entry.text is None or not normalise(entry.text):
        return LeftOut(entry.id, entry.where, "there is no text")
    return Utterance(
        entry.id,
        Path(entry.recording),
        entry.text,
        normalise(entry.speaker or "") or None,
        entry.byte_order,
        entry.start,
        entry.duration,
        entry.channel,
        entry.fields,
    )


def durations(utterances: Sequence[Utterance]) -> dict[str, float]:
    """Seconds of each utterance, by id, as headers say; 0 where one cannot be read."""
    files = {u.audio: 0.0 for u in utterances if u.duration is None}
    for path in track(files, description="measuring", console=Console(stderr=True), transient=True):
        files[path] = _seconds(path)
    return {
        u.id: max(files[u.audio] - u.start, 0.0) if u.duration is None else u.duration
        for u in utterances
    }


def _seconds(path: Path) -> float:
    try:
        return probe_file(path).duration
    except AsrError:  # it is listed when it is read
        return 0.0
