"""lhotse's CutSets: each cut's span of its recording, and each of its supervisions, is honoured."""

from __future__ import annotations

import gzip
from pathlib import Path

from lhotse import CutSet
from lhotse.audio import AudioSource
from lhotse.cut import Cut, MonoCut, MultiCut

from asr.types import AudioError, CorpusError
from recipes.common.rows import wrong_type
from recipes.custom.commands import output_of
from recipes.custom.entries import Entry, Found, Made, ReadOptions

__all__ = ["is_cutset", "read_cutset"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


def is_cutset(path: Path) -> bool:
    """Whether a file begins as a CutSet does."""
    if not path.name.endswith(SUFFIXES):
        return False
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            return b'"supervisions":' in stream.read(1 << 16)
    except (OSError, EOFError):
        return False


def read_cutset(path: Path, options: ReadOptions) -> Found:
    """The cuts of a file; one of several supervisions becomes an utterance of each.

    Raises:
        CorpusError: the file is damaged.
    """
    found = Found(path.parent)
    try:
        cuts = list(CutSet.from_file(path))
    except Exception as error:  # whatever a damaged line makes of lhotse
        raise CorpusError(
            f"not a CutSet: {type(error).__name__}: {error}",
            where=str(path),
            remedy="write it by lhotse's CutSet.to_file",
        ) from None
    for row, cut in enumerate(cuts, start=1):
        where = f"{path}, row {row} ({cut.id})"
        try:
            _add(found, cut, where, options)
        except AudioError as error:
            found.leave_out(str(cut.id), where, error.public_message())
    return found


def _add(found: Found, cut: Cut, where: str, options: ReadOptions) -> None:
    """Add the utterances of a cut.

    Raises:
        AudioError: it is no span of a recording that can be read.
    """
    if not isinstance(cut, MonoCut | MultiCut):
        raise AudioError(
            f"a {type(cut).__name__} is no span of one recording",
            remedy="save its audio first, by CutSet.save_audios",
        )
    if why := wrong_type(cut):
        raise AudioError(why, remedy="mend the row")
    if not cut.supervisions:
        raise AudioError("it has no supervision", remedy="give it one, with its text")
    audio, channel = _audio(cut, where, found.root, options)
    several = len(cut.supervisions) > 1
    for part in cut.trim_to_supervisions(keep_overlapping=False) if several else [cut]:
        told = part.supervisions[0]
        found.entries.append(
            Entry(
                where,
                audio,
                told.text,
                id=told.id if several else cut.id,
                speaker=told.speaker,
                start=part.start,
                duration=part.duration,
                channel=channel,
                fields=_fields(told),
            )
        )


def _audio(
    cut: MonoCut | MultiCut, where: str, folder: Path, options: ReadOptions
) -> tuple[Path | Made, int | None]:
    """The recording, and the channel of it; None: the mean of all.

    Raises:
        AudioError: there is none, or it can only be read by lhotse.
    """
    remedy = "save its audio first, by CutSet.save_audios"
    if not cut.has_recording:
        raise AudioError("it has no recording", remedy="give it one")
    if cut.recording.transforms:
        raise AudioError("the recording is to be changed while it is read", remedy=remedy)
    wanted = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    sources = [s for s in cut.recording.sources if set(wanted) & set(s.channels)]
    if len(sources) != 1 or (len(wanted) > 1 and sorted(wanted) != sorted(sources[0].channels)):
        raise AudioError(f"channels {wanted} are not those of one file", remedy=remedy)
    source = sources[0]
    if len(wanted) > 1 or len(source.channels) == 1:
        return _file(source, cut.recording_id, where, folder, options), None
    channel = source.channels.index(wanted[0])
    return _file(source, cut.recording_id, where, folder, options), channel


def _file(
    source: AudioSource, name: str, where: str, folder: Path, options: ReadOptions
) -> Path | Made:
    if source.type == "command":
        return output_of(source.source, name, where, options)
    if source.type == "memory":
        return Made(f"{name}.{source.format or 'wav'}", where, lambda: source.source)
    if source.type != "file":
        raise AudioError(
            f"its audio is of the kind {source.type}", remedy="fetch it, and name the file"
        )
    beside = folder / source.source
    return Path(source.source) if Path(source.source).is_file() else beside


def _fields(told: object) -> dict[str, str]:
    """What else a supervision tells."""
    named = {name: getattr(told, name) for name in ("gender", "language")}
    custom = getattr(told, "custom", None) or {}
    return {k: v for k, v in {**custom, **named}.items() if isinstance(v, str) and v}
