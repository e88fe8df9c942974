"""The audio of an upload as samples, block by block, however long it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from server.audio.blocks import BlockReader
from server.audio.pool import AudioJob, AudioWorkers, LongAudioError
from server.engine.spool import Spool
from server.telemetry.records import CallRecord

__all__ = ["audio_blocks", "timed_blocks"]

Samples = NDArray[np.float32]


async def audio_blocks(
    workers: AudioWorkers, job: AudioJob, audio: Spool, record: CallRecord
) -> AsyncGenerator[Samples, None]:
    """Samples ``(N,)`` at the rate that ``job`` wants. Who gives them up early closes them.

    Raises:
        AudioError: see :meth:`server.audio.pool.AudioWorkers.decode`.
    """
    if audio.data is not None:
        try:
            with record.stage("audio"):
                waveform, record.audio_seconds, _ = await workers.decode(job, audio.data)
            yield waveform.samples
            return
        except LongAudioError:
            pass
    long = _long_blocks(workers, job, audio, record)
    async with aclosing(long):
        async for block in long:
            yield block


async def _long_blocks(
    workers: AudioWorkers, job: AudioJob, audio: Spool, record: CallRecord
) -> AsyncGenerator[Samples, None]:
    """As :func:`audio_blocks`, of audio that is known not to be decoded at once."""
    async with workers.blocks(job, await audio.file()) as (reader, blocks):
        async for block in timed_blocks(reader, blocks, record):
            yield block


async def timed_blocks(
    reader: BlockReader, blocks: AsyncIterator[Samples], record: CallRecord
) -> AsyncIterator[Samples]:
    """``blocks``, which are those of ``reader``; ``record`` is told how long they take and last."""
    while True:
        with record.stage("audio"):
            block = await anext(blocks, None)
        if block is None:
            break
        yield block
    record.audio_seconds = reader.seconds
