"""Utterances to lhotse manifests and back. Audio is read by :mod:`asr.audio` alone."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from rich.progress import track

from asr.audio import AudioLimits, decode_pcm, probe, read_audio
from asr.types import AsrError, CorpusError, Waveform

__all__ = ["Utterance", "load_samples", "read_manifest", "write_manifest"]

RAW_RATE = 16_000
RAW = ".raw"
LIMITS = AudioLimits(  # one's own files, on one's own machine
    max_bytes=2**30, max_seconds=36_000.0, max_decoded_bytes=2**40, max_expansion=math.inf
)


@dataclass(frozen=True)
class Utterance:
    """One recording with its text. ``byte_order`` says how a headerless ``.raw`` file is stored."""

    id: str
    audio: Path
    text: str
    speaker: str
    byte_order: str = "little"


def write_manifest(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write ``utterances`` as a lhotse CutSet, one cut each; the file appears whole or not at all.

    Raises:
        CorpusError: no utterances, or two with one id, or raw audio of no or half a sample.
        AudioError: audio that is missing or not audio.
    """
    if not utterances:
        raise CorpusError("no utterances to write", where=str(path), remedy="check the corpus")
    ids = [utterance.id for utterance in utterances]
    if len(set(ids)) < len(ids):
        double = next(name for name in ids if ids.count(name) > 1)
        raise CorpusError(f"two utterances are called {double}", remedy="give each its own id")
    cuts = [
        _cut(utterance)
        for utterance in track(utterances, description=f"reading {path.name}", transient=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    CutSet.from_cuts(cuts).to_file(partial)
    partial.replace(path)


def _cut(utterance: Utterance) -> MonoCut:
    num_samples, rate = _size(utterance)
    source = AudioSource("file", [0], os.fspath(utterance.audio.absolute()))
    recording = Recording(utterance.id, [source], rate, num_samples, num_samples / rate)
    supervision = SupervisionSegment(
        utterance.id,
        utterance.id,
        0.0,
        recording.duration,
        text=utterance.text,
        speaker=utterance.speaker,
        custom={"byte_order": utterance.byte_order},
    )
    return MonoCut(
        utterance.id, 0.0, recording.duration, 0, supervisions=[supervision], recording=recording
    )


def _size(utterance: Utterance) -> tuple[int, int]:
    if utterance.audio.suffix == RAW:
        return _raw_size(utterance.audio), RAW_RATE
    info = probe(utterance.audio)
    return info.num_samples, info.sample_rate


def _raw_size(path: Path) -> int:
    """Samples in a headerless file of 16-bit audio."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CorpusError(f"cannot read audio: {error.strerror}", where=str(path)) from None
    if size == 0 or size % 2:
        raise CorpusError(
            f"{size} bytes are not 16-bit samples", where=str(path), remedy="restore the file"
        )
    return size // 2


def read_manifest(path: Path) -> CutSet:
    """Read a manifest that :func:`write_manifest` wrote.

    Raises:
        CorpusError: the file is missing, empty or damaged, or a row has no text or no audio file.
    """
    if not path.is_file():
        raise CorpusError("no such manifest", where=str(path), remedy="run `prepare` first")
    try:
        cuts = CutSet.from_jsonl_lazy(path).to_eager()
    except (ValueError, LookupError, TypeError, OSError, EOFError, AttributeError, zlib.error):
        raise CorpusError(
            "the manifest is damaged", where=str(path), remedy="run `prepare` again"
        ) from None
    if not len(cuts):
        raise CorpusError("the manifest is empty", where=str(path), remedy="run `prepare` again")
    _check_rows(path, cuts)
    return cuts


def _check_rows(path: Path, cuts: Iterable[Cut]) -> None:
    for row, cut in enumerate(cuts, start=1):
        where = f"{path}, row {row} ({cut.id})"
        if not cut.supervisions or not isinstance(cut.supervisions[0].text, str):
            raise CorpusError("the row has no text", where=where, remedy="run `prepare` again")
        sources = cut.recording.sources if cut.has_recording else []
        source = sources[0].source if sources else ""
        if not source or not Path(source).is_file():
            raise CorpusError(
                f"the row's audio {source or '(none)'} is not there",
                where=where,
                remedy="put the corpus back or run `prepare` again",
            )


def load_samples(cut: Cut) -> Waveform:
    """Read a cut's audio at its own rate.

    Raises:
        AudioError: the file is missing or damaged.
    """
    path = Path(cut.recording.sources[0].source)
    if path.suffix != RAW:
        return read_audio(path, limits=LIMITS)
    order = (cut.supervisions[0].custom or {}).get("byte_order", "little")
    try:
        data = path.read_bytes()
        return decode_pcm(data, encoding="LINEAR16", sample_rate=RAW_RATE, byte_order=order)
    except OSError as error:
        raise CorpusError(f"cannot read audio: {error.strerror}", where=str(path)) from None
    except AsrError as error:
        raise error.at(str(path)) from None
