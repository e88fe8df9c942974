"""The program of a process that decodes one long recording for the server, block by block.

It reads a file that the server has opened for it, and speaks in the frames of
:mod:`server.audio.worker`: ``{"frames": N}`` and N float32, again and again; ``{"seconds": S,
"channels": C}`` at the end of all; or an error. The connection holds a block or two: the process
goes on as they are read, and ends when nobody reads them.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioBlocks, AudioLimits, link_blocks, pcm_blocks
from asr.audio.links import links_of
from asr.audio.mapped import let_go
from server.audio.worker import (
    OWN_BYTES,
    RAW_ENCODINGS,
    READY,
    AudioJob,
    check_rate,
    confine,
    pack,
    reading,
    send_block,
    telling,
)

__all__ = ["BLOCK_FRAMES", "main", "open_blocks"]

BLOCK_FRAMES = 16_384  # of a block, but for the last one: a second at 16 kHz
BLOCKS_IN_MEMORY = 64  # whose bytes stay in memory when they were read


def open_blocks(job: AudioJob, data: mmap.mmap, limits: AudioLimits) -> AudioBlocks:
    """The blocks of ``data`` at the rate that ``job`` wants.

    Raises:
        AudioError: not what ``job`` says, or beyond ``limits``; the blocks may raise it as well.
    """
    if job.encoding in RAW_ENCODINGS:
        return pcm_blocks(
            data,
            job.target_rate,
            encoding=job.encoding,
            source_rate=job.sample_rate,
            channels=job.channels,
            limits=limits,
            channel=job.channel,
        )
    links = links_of(data, job.encoding or None)
    return link_blocks(links, len(data), job.target_rate, limits=limits, channel=job.channel)


def main(arguments: Sequence[str] | None = None) -> int:
    """Arguments: the descriptors of the socket and of the file, and job and limits as JSON."""
    descriptor, file, job_json, limits_json = sys.argv[1:] if arguments is None else arguments
    limits, job = AudioLimits(**json.loads(limits_json)), AudioJob(**json.loads(job_json))
    size = os.fstat(int(file)).st_size
    confine(OWN_BYTES + size)
    with socket.socket(fileno=int(descriptor)) as server:
        server.sendall(pack(READY))
        with telling(server), reading():
            data = mmap.mmap(int(file), 0, access=mmap.ACCESS_READ)
            blocks = open_blocks(job, data, limits)
            for number, block in enumerate(_of_a_size(blocks)):
                check_rate(job, blocks.source_rate)
                send_block(server, block)
                if number % BLOCKS_IN_MEMORY == 0:
                    let_go(data)
            server.sendall(pack({"seconds": blocks.seconds, "channels": blocks.channels}))
    return 0


def _of_a_size(blocks: AudioBlocks) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of ``BLOCK_FRAMES``, the last perhaps shorter."""
    waiting: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        waiting.append(block.copy())  # its memory is used for the next one
        count += len(block)
        while count >= BLOCK_FRAMES:
            joined = np.concatenate(waiting)
            yield joined[:BLOCK_FRAMES]
            waiting = [joined[BLOCK_FRAMES:]]
            count -= BLOCK_FRAMES
    if count:
        yield np.concatenate(waiting)


if __name__ == "__main__":
    sys.exit(main())
