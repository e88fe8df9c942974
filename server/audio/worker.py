"""The program of a process that decodes audio for the server, one piece after another.

Damaged files and bombs reach libsndfile and soxr here, where a crash ends this process alone and
the system limits its memory. It may not write files, and it ends with the server. Both sides speak
in frames: :data:`FRAME`, a JSON object, then raw bytes. The server sends an :class:`AudioJob` and
the audio; the answer is ``{"frames": N, "seconds": S, "channels": C}`` and N float32, or
``{"what": ..., "remedy": ...}`` as of an AudioError, or ``{"long": true}`` where it has to be read
by blocks (:mod:`server.audio.reader`).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioLimits, count_channels, decode_audio, decode_pcm, resample
from asr.audio.limits import TooLongError
from asr.types import AudioError, MissingPackageError, Waveform
from server.resources import PACE_SECONDS, give_back
from server.signals import SIGNALS

__all__ = [
    "FRAME",
    "OWN_BYTES",
    "RAW_ENCODINGS",
    "READY",
    "AudioJob",
    "Decoded",
    "address_space",
    "check_rate",
    "confine",
    "decode",
    "main",
    "pack",
    "reading",
    "send_block",
    "telling",
]

FRAME = struct.Struct("<IQ")  # bytes of the JSON, bytes of what follows it
READY = {"ready": True}  # the first frame, sent when audio can be decoded
RAW_ENCODINGS = ("LINEAR16", "FLOAT", "MULAW", "ALAW")
# Interpreter, numpy, soxr and libsndfile take 0.1 GiB; codecs may add their tables.
OWN_BYTES = 512 * 1024 * 1024
TRACEBACK_CHARACTERS = 1000
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class AudioJob:
    """What the bytes are and what is wanted of them.

    ``encoding`` is ``""`` (the header tells), a container that :func:`asr.audio.decode_audio`
    reads or, without a header, ``LINEAR16``, ``FLOAT``, ``MULAW`` or ``ALAW``. ``sample_rate``
    (hertz) and ``channels`` are those of raw samples; with a header ``channels`` is 0, and
    ``sample_rate`` is 0 or what the header must say. ``channel`` counts from 0; None is the mean of
    all. The waveform comes at ``target_rate``. ``counts``: the number of channels is wanted too.
    """

    encoding: str
    sample_rate: int
    channels: int
    channel: int | None
    target_rate: int
    counts: bool = False


class Decoded(NamedTuple):
    """The waveform of a job, its seconds at its own rate, and how many channels there are.

    Without ``counts`` in the job ``channels`` is 0.
    """

    waveform: Waveform
    seconds: float
    channels: int


def decode(job: AudioJob, audio: bytes, limits: AudioLimits) -> Decoded:
    """What ``job`` wants to know of ``audio``.

    Raises:
        AudioError: not what ``job`` says, not usable, or beyond ``limits``.
        TooLongError: longer, or larger, than ``limits``.
    """
    if job.encoding in RAW_ENCODINGS:
        waveform = decode_pcm(
            audio,
            encoding=job.encoding,
            sample_rate=job.sample_rate,
            channels=job.channels,
            limits=limits,
            channel=job.channel,
        )
    else:
        with reading():
            waveform = decode_audio(
                audio, limits=limits, channel=job.channel, container=job.encoding or None
            )
        check_rate(job, waveform.sample_rate)
    channels = _channels(job, audio) if job.counts else 0
    return Decoded(resample(waveform, job.target_rate), waveform.duration, channels)


def _channels(job: AudioJob, audio: bytes) -> int:
    return job.channels or count_channels(audio, job.encoding or None)


@contextmanager
def reading() -> Iterator[None]:
    """Raise AudioError if audio in the context needs FFmpeg, which is not here."""
    try:
        yield
    except MissingPackageError:  # whoever sent it cannot install it
        raise AudioError(
            "this server does not read such audio: it has no FFmpeg",
            remedy="convert it to WAV, FLAC, OGG or MP3",
        ) from None


def check_rate(job: AudioJob, rate: int, *others: int) -> None:
    """Raise AudioError unless audio of ``rate`` hertz, or ``others``, is what ``job`` says."""
    if job.sample_rate not in (0, rate, *others):
        raise AudioError(
            f"sample_rate_hertz is {job.sample_rate}, but the audio's header says {rate}",
            remedy="leave it 0 to trust the header",
        )


def pack(head: dict[str, Any], follows: int = 0) -> bytes:
    """The beginning of a frame; ``follows`` bytes come after it."""
    text = json.dumps(head).encode()
    return FRAME.pack(len(text), follows) + text


def send_block(server: socket.socket, samples: NDArray[np.float32]) -> None:
    """Answer with ``samples (N,)``."""
    server.sendall(pack({"frames": len(samples)}, samples.nbytes))
    server.sendall(samples.view(np.uint8).data)


def address_space(limits: AudioLimits) -> int:
    """Bytes of memory that suffice for any audio within ``limits``, at the worst of rates."""
    longest = int(4 * limits.max_seconds * limits.max_rate)
    # The encoded bytes, one channel of float32, and the same at another rate, which may be higher.
    return OWN_BYTES + limits.max_bytes + min(longest, limits.max_decoded_bytes) + longest


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the socket whose descriptor is the first argument; the second is limits as JSON."""
    descriptor, limits_json = sys.argv[1:] if arguments is None else arguments
    limits = AudioLimits(**json.loads(limits_json))
    confine(address_space(limits))
    with socket.socket(fileno=int(descriptor)) as server, server.makefile("rb") as stream:
        server.sendall(pack(READY))
        gave_back = time.monotonic()
        while header := stream.read(FRAME.size):
            head_bytes, audio_bytes = FRAME.unpack(header)
            job = AudioJob(**json.loads(stream.read(head_bytes)))
            _answer(server, job, stream, audio_bytes, limits)
            if time.monotonic() - gave_back >= PACE_SECONDS:
                give_back()
                gave_back = time.monotonic()
    return 0


def _answer(
    server: socket.socket, job: AudioJob, stream: BinaryIO, size: int, limits: AudioLimits
) -> None:
    with telling(server):
        waveform, seconds, channels = decode(job, stream.read(size), limits)
        body = waveform.samples.view(np.uint8).data
        told = {"frames": len(waveform.samples), "seconds": seconds, "channels": channels}
        head = pack(told, len(body))
        sent = server.sendmsg([head, body])  # both in one go, so that the server wakes once
        if sent < len(head):
            server.sendall(head[sent:])
        server.sendall(body[max(sent - len(head), 0) :])


@contextmanager
def telling(server: socket.socket) -> Iterator[None]:
    """Tell the server what goes wrong in the context. A defect of ours ends the process as well:
    what state it leaves is unknown."""
    try:
        yield
    except TooLongError:
        server.sendall(pack({"long": True}))
    except AudioError as error:
        server.sendall(pack({"what": error.what, "remedy": error.remedy}))
    except MemoryError:
        what, remedy = "the audio takes too much memory to decode", "cut it into shorter pieces"
        server.sendall(pack({"what": what, "remedy": remedy}))
    except Exception:
        server.sendall(pack({"defect": traceback.format_exc()[-TRACEBACK_CHARACTERS:]}))
        raise


def confine(memory: int) -> None:
    """Give up what decoding does not need, and end when the server does.

    ``memory``: bytes of address space that suffice.
    """
    # Ctrl-C, a hangup and a service manager's stop reach the whole group, but the server drains: it
    # ends us. It starts us with these signals blocked.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # libsndfile and its codecs complain on stderr about what is answered anyway.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 16)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    sys.exit(main())
