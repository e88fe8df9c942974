"""Utterances to lhotse manifests and back."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lhotse import CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item
from rich.console import Console
from rich.progress import track

from asr.audio import AudioInfo, check_file
from asr.files.write import replace_file
from asr.types import AsrError, AudioError, CorpusError
from recipes.common.audio import LIMITS, RAW, SHARD, load_samples, read_raw, unreadable
from recipes.common.normaliser import load_text_options
from recipes.common.parts import Part
from recipes.common.texts import invisible, normalise

__all__ = [
    "PHONES",
    "Broken",
    "Utterance",
    "check_audio",
    "check_ids",
    "describe",
    "load_samples",
    "read_manifest",
    "refuse",
    "save_cuts",
    "target_text",
    "usable_cuts",
    "write_manifest",
    "writing_cuts",
]

RAW_RATE = 16_000
PHONES = "target_phones"  # the field of a supervision that says how its text is pronounced
OVERSHOOT = 0.5  # seconds that a span may pass the end of its recording, as Kaldi's segments may


@dataclass(frozen=True)
class Utterance:
    """A recording or a part of one with its text, which is normalised whatever corpus it is from.

    Attributes:
        id: a name of its own.
        audio: the file.
        text: what is said.
        speaker: who says it, where that is known.
        byte_order: how a headerless ``.raw`` file is stored.
        start: seconds of the file before it.
        duration: seconds; None: to the end of the file.
        channel: of the file, from 0; None: the mean of all.
        fields: what else is known of it, by name.
        phones: how the text is pronounced, where the model is one of phones by a lexicon.
        dropped: the invisible characters that the text has lost.
    """

    id: str
    audio: Path
    text: str
    speaker: str | None
    byte_order: str = "little"
    start: float = 0.0
    duration: float | None = None
    channel: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    phones: str | None = None
    dropped: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "dropped", invisible(self.text))
        object.__setattr__(self, "text", normalise(self.text))


@dataclass(frozen=True)
class Broken:
    """An utterance whose audio cannot be used, and why."""

    utterance: Utterance
    error: AsrError

    def __str__(self) -> str:
        return f"{self.utterance.id}: {self.error}"


def write_manifest(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write ``utterances`` as a lhotse CutSet, one cut each; the file appears whole or not at all.

    Raises:
        CorpusError: no utterances, two with one id, audio that cannot be used (all of it is
            named), or a folder that cannot be written.
    """
    check_ids(path, utterances)
    save_cuts(path, usable_cuts(utterances))


def check_ids(path: Path, utterances: Sequence[Utterance]) -> None:
    """Raise CorpusError unless there are utterances, each with an id of its own."""
    if not utterances:
        raise CorpusError("no utterances to write", where=str(path), remedy="check the corpus")
    name, count = Counter(utterance.id for utterance in utterances).most_common(1)[0]
    if count > 1:
        raise CorpusError(f"two utterances are called {name}", remedy="give each its own id")


def check_audio(utterances: Sequence[Utterance]) -> list[Cut | Broken]:
    """Read each file from its beginning to its end, once, with progress.

    A header may say anything: a cut lasts as long as its samples do.

    Returns:
        For each utterance its cut, or why there is none.
    """
    of_file: dict[Path, list[int]] = {}
    for index, utterance in enumerate(utterances):
        of_file.setdefault(utterance.audio, []).append(index)
    groups = [[utterances[index] for index in indices] for indices in of_file.values()]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        checked = track(
            pool.map(_checked, groups),
            description="reading audio",
            total=len(groups),
            console=Console(stderr=True),
            transient=True,
        )
        found = dict(zip(chain(*of_file.values()), chain(*checked), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    return [found[index] for index in range(len(utterances))]


def usable_cuts(utterances: Sequence[Utterance]) -> list[Cut]:
    """Return a cut for each utterance.

    Raises:
        CorpusError: audio that cannot be used; all of it is named.
    """
    checked = check_audio(utterances)
    refuse([str(item) for item in checked if isinstance(item, Broken)], len(checked))
    return [item for item in checked if not isinstance(item, Broken)]


def refuse(broken: Sequence[str], total: int, remedy: str = "mend or remove them") -> None:
    """Raise CorpusError if there is anything ``broken``; the message names all of it."""
    if broken:
        raise CorpusError(describe(broken, total) + "\n", remedy=remedy)


def describe(broken: Sequence[str], total: int) -> str:
    """A list of what cannot be used and why, for people."""
    return "\n  ".join([f"{len(broken)} of {total} recordings cannot be used", *broken])


def _checked(utterances: Sequence[Utterance]) -> list[Cut | Broken]:
    """The cuts of one file."""
    try:
        recording = _recording(utterances[0])
    except AsrError as error:
        return [Broken(utterance, error) for utterance in utterances]
    return [_checked_span(utterance, recording) for utterance in utterances]


def _recording(utterance: Utterance) -> Recording:
    path = utterance.audio
    if path.suffix == RAW:
        count = len(read_raw(path, RAW_RATE, utterance.byte_order).samples)
        info = AudioInfo(count, RAW_RATE, channels=1)
    else:
        info = check_file(path, limits=LIMITS)
    return Recording(
        utterance.id if utterance.duration is None else path.stem,
        [AudioSource("file", list(range(info.channels)), os.fspath(path.absolute()))],
        info.sample_rate,
        info.num_samples,
        info.duration,
    )


def _checked_span(utterance: Utterance, recording: Recording) -> Cut | Broken:
    try:
        return _cut(utterance, recording)
    except AsrError as error:
        return Broken(utterance, error.at(str(utterance.audio)))


def _cut(utterance: Utterance, recording: Recording) -> Cut:
    """The cut of a span of ``recording``.

    Raises:
        AudioError: the recording ends before, or has no such channel.
    """
    duration = _duration(utterance, recording.duration)
    channels: int | list[int] = recording.channel_ids
    if utterance.channel is not None:
        if utterance.channel not in recording.channel_ids:
            raise AudioError(
                f"there is no channel {utterance.channel}",
                remedy=f"it has {recording.num_channels}, counted from 0",
            )
        channels = utterance.channel
    elif len(recording.channel_ids) == 1:
        channels = 0
    pronounced = {} if utterance.phones is None else {PHONES: utterance.phones}
    supervision = SupervisionSegment(
        utterance.id,
        recording.id,
        0.0,
        duration,
        channels,
        text=utterance.text,
        speaker=utterance.speaker,
        custom={"byte_order": utterance.byte_order, **utterance.fields, **pronounced},
    )
    kind = MonoCut if isinstance(channels, int) else MultiCut
    return kind(
        utterance.id,
        utterance.start,
        duration,
        channels,
        supervisions=[supervision],
        recording=recording,
    )


def _duration(utterance: Utterance, there: float) -> float:
    """Seconds of the utterance, of a file that has ``there`` of them.

    Raises:
        AudioError: the span is none, or passes the end.
    """
    left = there - utterance.start
    wanted = left if utterance.duration is None else utterance.duration
    if not (utterance.start >= 0 and 0 < wanted < math.inf):
        raise AudioError(
            f"a span of {wanted:g} s from {utterance.start:g} s",
            remedy="give a start of 0 or more and an end after it",
        )
    if left <= 0 or wanted > left + OVERSHOOT:
        raise AudioError(
            f"the span ends at {utterance.start + wanted:.2f} s, the audio at {there:.2f} s",
            remedy="mend the times, or restore the whole recording",
        )
    return min(wanted, left)


def save_cuts(path: Path, cuts: Iterable[Cut]) -> None:
    """Write ``cuts`` to a manifest; the file appears whole or not at all.

    ASCII throughout: names that are not UTF-8 and terminals of any encoding do no harm.

    Raises:
        CorpusError: the disk refuses.
    """
    with writing_cuts(path, cuts):
        pass


@contextmanager
def writing_cuts(path: Path, cuts: Iterable[Cut]) -> Iterator[None]:
    """As :func:`save_cuts`; the file comes to its place when the context ends without a fault.

    Raises:
        CorpusError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as stream:
            with gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as file:
                file.writelines(f"{json.dumps(cut.to_dict())}\n".encode("ascii") for cut in cuts)
            stream.flush()
            yield
    except OSError as error:
        raise CorpusError(
            f"cannot write the manifest: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None


def read_manifest(path: Path) -> CutSet:
    """Read a manifest that ``prepare`` wrote, or a CutSet of one's own under that name.

    Each cut is a span of a recording with one supervision, its text. Texts are normalised as
    ``prepare`` does it.

    Raises:
        CorpusError: the file is missing, empty or damaged, or a row has no text or no audio file.
    """
    if not path.is_file():
        raise CorpusError("no such manifest", where=str(path), remedy="run `prepare` first")
    try:
        cuts = list(_rows(path))
    except (ValueError, LookupError, TypeError, OSError, EOFError, AttributeError, zlib.error):
        raise CorpusError(
            "the manifest is damaged", where=str(path), remedy="run `prepare` again"
        ) from None
    if not cuts:
        raise CorpusError("the manifest is empty", where=str(path), remedy="run `prepare` again")
    form = load_text_options(path.parent)
    for row, cut in enumerate(cuts, start=1):
        _check_row(f"{path}, row {row} ({cut.id})", cut)
        cut.supervisions[0].text = form.apply(cut.supervisions[0].text)
    return CutSet.from_cuts(cuts)


def target_text(cut: Cut) -> str:
    """What a model is trained to write of ``cut``: its text, or how that is pronounced."""
    supervision = cut.supervisions[0]
    phones = (supervision.custom or {}).get(PHONES)
    return phones if isinstance(phones, str) else supervision.text or ""


def _rows(path: Path) -> Iterator[Cut]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                cut = deserialize_item(json.loads(line))
                _find_shards(cut, path.parent)
                yield cut


def _find_shards(cut: Cut, folder: Path) -> None:
    """Shards stand beside the manifest, unless they are at a URL."""
    if not isinstance(cut, MonoCut | MultiCut) or not cut.has_recording:
        return
    for source in cut.recording.sources:
        if source.type == SHARD:
            source.source = str(Part.of(source.source).below(folder))


def _check_row(where: str, cut: Cut) -> None:
    if why := unreadable(cut):
        raise CorpusError(why, where=where, remedy="put the corpus back or run `prepare` again")
    if not cut.supervisions or not isinstance(cut.supervisions[0].text, str):
        raise CorpusError("the row has no text", where=where, remedy="run `prepare` again")
    if len(cut.supervisions) > 1:
        raise CorpusError(
            f"the row has {len(cut.supervisions)} supervisions",
            where=where,
            remedy="make it a cut each, by lhotse's `trim_to_supervisions`",
        )
