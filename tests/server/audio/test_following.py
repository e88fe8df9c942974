"""A process that decodes a recording while it comes: its turns, its end, and whom it troubles."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from asr.audio import AudioLimits
from asr.types import AudioError
from server.audio import pool
from server.audio.pool import AudioJob, AudioWorkers, WorkerDiedError
from server.errors import Refusal

pytest.importorskip("av", reason="the extra `formats` is not installed")

JOB = AudioJob("OGG", 0, 0, None, 16_000)


@pytest.fixture(scope="module")
def recording(rubbish, samples_of) -> bytes:
    return rubbish.foreign(samples_of(1, 1.0, 48_000), 48_000, "Ogg Opus")


def with_workers(use, **options):
    """What ``await use(workers)`` returns."""

    async def live():
        async with AudioWorkers(1, AudioLimits(), **options) as workers:
            return await use(workers)

    return asyncio.run(live())


async def samples(blocks) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *[block async for block in blocks]])


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_piece_is_answered_with_its_samples(recording):
    async def use(workers):
        async with workers.follow(JOB) as follower:
            early = await samples(follower.push(recording[: len(recording) // 2]))
            late = await samples(follower.push(recording[len(recording) // 2 :]))
            last = await samples(follower.end())
            return len(early), len(early) + len(late) + len(last)

    early, whole = with_workers(use)
    assert 0 < early < 16_000
    assert whole == 16_000


def test_a_process_ends_with_its_recording(recording):
    async def use(workers):
        async with workers.follow(JOB) as follower:
            await samples(follower.push(recording))
            assert is_there(follower.pid)
        return follower.pid

    assert not is_there(with_workers(use))


@pytest.mark.parametrize(
    ("rate", "is_taken"), [(0, True), (16_000, True), (48_000, True), (8_000, False)]
)
def test_the_rate_may_be_that_before_the_encoder_or_that_of_opus(
    rubbish, samples_of, rate, is_taken
):
    """Opus always has 48 kHz, and its header tells what it was made of (RFC 7845, 5.1)."""
    data = rubbish.foreign(samples_of(1, 1.0), 16_000, "Ogg Opus")

    async def use(workers):
        async with workers.follow(replace(JOB, sample_rate=rate)) as follower:
            return await samples(follower.push(data))

    if is_taken:
        assert len(with_workers(use))
    else:
        with pytest.raises(AudioError, match="the audio's header says 16000"):
            with_workers(use)


def test_no_more_are_started_than_there_may_be(monkeypatch):
    monkeypatch.setattr(pool, "FOLLOWERS", 1)

    async def use(workers):
        async with workers.follow(JOB):
            with pytest.raises(Refusal) as caught:
                async with workers.follow(JOB):
                    pass
        async with workers.follow(JOB):  # there is a place again
            return caught.value

    refusal = with_workers(use)
    assert (refusal.cause, refusal.retry) == ("full", True)


def test_one_that_takes_too_long_is_told_so(recording):
    async def use(workers):
        async with workers.follow(JOB) as follower:
            os.kill(follower.pid, signal.SIGSTOP)
            await samples(follower.push(recording))

    with pytest.raises(AudioError, match=r"takes more than 0\.2 s"):
        with_workers(use, seconds_per_job=0.2)


def test_one_that_dies_ends_its_own_recording_alone(recording):
    async def use(workers):
        async with workers.follow(JOB) as other:
            async with workers.follow(JOB) as follower:
                os.kill(follower.pid, signal.SIGKILL)
                with pytest.raises(WorkerDiedError):
                    await samples(follower.push(recording))
            return await samples(other.push(recording))

    assert len(with_workers(use))


def test_a_stop_ends_it(recording):
    async def use(workers):
        async with workers.follow(JOB) as follower:
            await workers.close()
            with pytest.raises(WorkerDiedError):
                await samples(follower.push(recording))
        with pytest.raises(WorkerDiedError, match="closed"):
            async with workers.follow(JOB):
                pass

    with_workers(use)
