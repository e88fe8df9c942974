"""Audio in few large files, for disks and stores that many small ones are too slow on.

The form is lhotse's Shar: ``shards/train/recording.000000.tar`` with an utterance's audio and a
row about it after another, and ``cuts.000000.jsonl.gz``. lhotse reads it from its beginning to its
end (``CutSet.from_shar``). Here each row of the manifest tells where in which tar file the audio
lies, so that any utterance can be read by itself: batches are the very same as from single files,
and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lhotse import MonoCut, Recording
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr.audio import encode_flac
from asr.files.write import replace_folder
from asr.types import ConfigError, CorpusError
from recipes.common.audio import SHARD, load_samples
from recipes.common.parts import Part, is_url

__all__ = ["FOLDER", "Sharding", "writing_shards"]

FOLDER = "shards"
KEPT = {".flac", ".ogg", ".oga", ".opus"}  # packed already: their bytes go into the shards
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([KMG])B?", re.IGNORECASE)
SEED = 0  # of the sequence of utterances in the shards


@dataclass(frozen=True)
class Sharding:
    """How the audio of a split is divided.

    Attributes:
        count: so many shards, each with as many utterances.
        max_bytes: or as many as it takes, none with more audio than this, unless one utterance has.
        url: where the folder :data:`FOLDER` will be found; None: beside the manifests.
    """

    count: int | None = None
    max_bytes: int | None = None
    url: str | None = None

    @classmethod
    def of(cls, text: str, url: str | None = None) -> Sharding:
        """Read ``8``, a number of shards, or ``500M`` or ``1G``, the size of each.

        Raises:
            ConfigError: it is neither, or ``url`` is none.
        """
        if url is not None and not is_url(url):
            raise ConfigError(f"{url!r} is no URL", remedy="give https://…")
        number = int(text) if text.isdecimal() and len(text) < 10 else 0
        match = SIZE.fullmatch(text)
        size = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
        if number < 1 and size < 1:
            raise ConfigError(
                f"{text!r} is no number or size of shards", remedy="give 8, 500M, 1G or the like"
            )
        return cls(number or None, size or None, url)


@contextmanager
def writing_shards(
    cuts: Mapping[str, Sequence[Cut]], data: Path, sharding: Sharding
) -> Iterator[dict[str, list[Cut]]]:
    """Write the audio of each split of ``cuts`` beside the folder ``data/shards/SPLIT``.

    FLAC and Opus files go in as they are; all else becomes FLAC of one channel, in 16 bits where
    these hold every sample, else in 24. The utterances' sequence is mixed.

    Yields:
        For each cut of each split one whose audio is in the shards. When the context ends without
        an exception, all of them come to their places; else what stood there is as it was.

    Raises:
        ConfigError: a split has fewer utterances than there shall be shards.
        AudioError: audio cannot be read.
        CorpusError: the disk refuses.
    """
    for split, mine in cuts.items():
        if sharding.count is not None and sharding.count > len(mine):
            raise ConfigError(
                f"{sharding.count} shards for the {len(mine)} utterances of {split}",
                remedy="give fewer, or a size",
            )
    with ExitStack() as stack:
        yield {
            split: stack.enter_context(_writing(mine, data, split, sharding))
            for split, mine in cuts.items()
        }


@contextmanager
def _writing(
    cuts: Sequence[Cut], data: Path, split: str, sharding: Sharding
) -> Iterator[list[Cut]]:
    folder = data / FOLDER / split
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(folder) as draft:
            found = _write(cuts, draft, sharding, f"{FOLDER}/{split}")
            yield [found[cut.id] for cut in cuts]
    except OSError as error:
        raise CorpusError(
            f"cannot write the shards: {error.strerror or error}",
            where=str(error.filename or folder),
            remedy="check the folder and the space left",
        ) from None


def _write(cuts: Sequence[Cut], draft: Path, sharding: Sharding, name: str) -> dict[str, Cut]:
    """The cuts by id, once all shards are written to ``draft``, which will be found as ``name``."""
    order = np.random.default_rng(SEED).permutation(len(cuts))
    mixed = [cuts[index] for index in order]
    count = sharding.count or 1
    found: dict[str, Cut] = {}
    shard = _Shard(draft, 0)
    try:
        for index, cut in enumerate(_shown(mixed)):
            suffix, audio, recording = _packed(cut)
            if index * count // len(cuts) > shard.number or shard.is_full(
                len(audio), sharding.max_bytes
            ):
                shard.close()
                shard = _Shard(draft, shard.number + 1)
            offset = shard.add(replace(cut, recording=recording), suffix, audio)
            part = Part(f"{name}/{shard.name}", offset, len(audio))
            if sharding.url is not None:
                part = part._replace(place=f"{sharding.url.rstrip('/')}/{part.place}")
            found[cut.id] = _with_source(cut, recording, AudioSource(SHARD, [0], str(part)))
    finally:
        shard.close()
    return found


def _shown(cuts: Sequence[Cut]) -> Iterable[Cut]:
    """The cuts, with a bar."""
    return track(
        cuts,
        description="writing shards",
        console=Console(stderr=True),
        transient=True,
    )


def _packed(cut: Cut) -> tuple[str, bytes, Recording]:
    """The suffix and the bytes of a cut's audio, and the recording that they make."""
    recording = cut.recording
    source = recording.sources[0]
    suffix = Path(source.source).suffix.lower()
    whole = cut.start == 0.0 and cut.duration == recording.duration
    if whole and suffix in KEPT and recording.num_channels == 1 and len(recording.sources) == 1:
        return suffix, Path(source.source).read_bytes(), _placeholder(recording, recording.id)
    waveform = load_samples(cut)
    made = replace(
        recording,
        sampling_rate=waveform.sample_rate,
        num_samples=len(waveform.samples),
        duration=waveform.duration,
        channel_ids=[0],
    )
    return ".flac", encode_flac(waveform), _placeholder(made, cut.id)


def _placeholder(recording: Recording, name: str) -> Recording:
    """As the rows of Shar have it: the audio stands beside it."""
    return replace(recording, id=name, sources=[AudioSource("shar", [0], "")])


def _with_source(cut: Cut, recording: Recording, source: AudioSource) -> Cut:
    """The cut of the whole of ``recording``, read from ``source``."""
    supervision = replace(
        cut.supervisions[0], recording_id=recording.id, channel=0, duration=recording.duration
    )
    return MonoCut(
        cut.id,
        0.0,
        recording.duration,
        0,
        supervisions=[supervision],
        recording=replace(recording, sources=[source]),
    )


class _Shard:
    """A tar file and the rows of its cuts."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.name = f"recording.{number:06d}.tar"
        self._bytes = 0
        self._rows = gzip.GzipFile(folder / f"cuts.{number:06d}.jsonl.gz", "wb", mtime=0)
        self._tar = tarfile.open(folder / self.name, "w")  # noqa: SIM115

    def is_full(self, more: int, limit: int | None) -> bool:
        return limit is not None and self._bytes > 0 and self._bytes + more > limit

    def add(self, cut: Cut, suffix: str, audio: bytes) -> int:
        """Append audio, where ``cut`` has a placeholder; returns at which byte it begins."""
        offset = self._append(f"{cut.id}{suffix}", audio)
        row = json.dumps(cut.recording.to_dict()).encode("ascii") + b"\n"
        self._append(f"{cut.id}.json", row)
        whole = _with_source(cut, cut.recording, cut.recording.sources[0])
        self._rows.write(json.dumps(whole.to_dict()).encode("ascii") + b"\n")
        self._bytes += len(audio)
        return offset

    def _append(self, name: str, data: bytes) -> int:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        blocks = -(-len(data) // tarfile.BLOCKSIZE)
        return self._tar.offset - blocks * tarfile.BLOCKSIZE

    def close(self) -> None:
        self._tar.close()
        self._rows.close()
