"""The program of a process that decodes one recording for the server while it comes.

Both sides speak in the frames of :mod:`server.audio.worker`, and in turns. The server sends ``{}``
and the next bytes, or ``{}`` and none at the recording's end. The process answers with
``{"frames": N}`` and N float32, any number of times; then ``{"more": true}``, once it cannot go on
without more bytes, ``{"done": true}`` at the end of all, or an error.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from typing import BinaryIO

from asr.audio import AudioLimits
from asr.audio.arriving import Arriving
from asr.audio.limits import TooLongError
from asr.extras import import_extra
from asr.types import AudioError
from server.audio.reader import BLOCK_FRAMES
from server.audio.worker import (
    FRAME,
    OWN_BYTES,
    READY,
    AudioJob,
    check_rate,
    confine,
    pack,
    send_block,
    telling,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Arguments: the descriptor of the socket, and job and limits as JSON."""
    descriptor, job_json, limits_json = sys.argv[1:] if arguments is None else arguments
    limits, job = AudioLimits(**json.loads(limits_json)), AudioJob(**json.loads(job_json))
    import_extra("av", "formats", "recordings that are decoded while they come")
    confine(OWN_BYTES)
    with socket.socket(fileno=int(descriptor)) as server, server.makefile("rb") as stream:
        server.sendall(pack(READY))
        with telling(server):
            _follow(server, stream, job, limits)
            server.sendall(pack({"done": True}))
    return 0


def _follow(server: socket.socket, stream: BinaryIO, job: AudioJob, limits: AudioLimits) -> None:
    has_begun = False

    def more() -> bytes:
        nonlocal has_begun
        if has_begun:
            server.sendall(pack({"more": True}))
        has_begun = True
        head_bytes, size = FRAME.unpack(stream.read(FRAME.size))
        stream.read(head_bytes)
        return stream.read(size)

    arriving = Arriving(more, job.encoding, job.target_rate, limits=limits, channel=job.channel)
    try:
        for block in arriving:
            check_rate(job, *arriving.source_rates)
            for start in range(0, len(block), BLOCK_FRAMES):
                send_block(server, block[start : start + BLOCK_FRAMES])
    except TooLongError as error:
        raise AudioError(error.what, remedy="begin another stream") from None


if __name__ == "__main__":
    sys.exit(main())
