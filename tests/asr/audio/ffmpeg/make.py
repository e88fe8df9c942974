"""Writes the files beside it with FFmpeg: ``python make.py``, where PyAV is installed.

They are a tenth of a second of a tone at 8 kHz, as FFmpeg writes it to a pipe, where it cannot go
back to fill in sizes; and FLAC in Ogg, which libsndfile does not write.
"""

import io
from pathlib import Path

import av
import numpy as np

RATE = 8_000
HERE = Path(__file__).parent
CODECS = {"wav": "pcm_s16le", "rf64": "pcm_s16le", "w64": "pcm_s16le", "aiff": "pcm_s16be"}
CODECS |= {"au": "pcm_s16be", "caf": "pcm_s16be", "flac": "flac"}


class Pipe:
    """Can be written to, and not sought in."""

    def __init__(self) -> None:
        self.taken = io.BytesIO()

    def write(self, data: bytes) -> int:
        return self.taken.write(data)


def write(name: str) -> bytes:
    """The tone in the container ``name``."""
    tone = (8_000 * np.sin(2 * np.pi * 440 * np.arange(RATE // 10) / RATE)).astype(np.int16)
    pipe = Pipe()
    with av.open(
        pipe,
        "w",
        format="wav" if name == "rf64" else name,
        options={"rf64": "always"} if name == "rf64" else {},
    ) as target:
        stream = target.add_stream(CODECS[name], rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)
    return pipe.taken.getvalue()


def rewrap(flac: bytes) -> bytes:
    """The stream of a FLAC file in Ogg."""
    pipe = io.BytesIO()
    with av.open(io.BytesIO(flac)) as source, av.open(pipe, "w", format="ogg") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return pipe.getvalue()


if __name__ == "__main__":
    for name in CODECS:
        (HERE / f"pipe.{name}").write_bytes(write(name))
    (HERE / "flac.ogg").write_bytes(rewrap((HERE / "pipe.flac").read_bytes()))
