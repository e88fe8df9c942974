"""Audio workers: what they answer, what becomes of them, and what that costs everybody else."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from asr.audio import AudioLimits, decode_audio, decode_pcm, resample
from asr.types import AudioError, ConfigError
from server.audio.pool import AudioJob, AudioWorkers, LongAudioError, WorkerDiedError
from server.audio.worker import decode

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]
LIMITS = AudioLimits()
ANY_FILE = AudioJob("", 0, 0, None, 16_000)


def with_workers(use, count=1, limits=LIMITS, **options):
    """What ``await use(workers)`` returns."""

    async def live():
        async with AudioWorkers(count, limits, **options) as workers:
            return await use(workers)

    return asyncio.run(live())


async def outcome(workers, audio):
    """The samples of a call, or the kind of its failure."""
    try:
        waveform, *_ = await workers.decode(ANY_FILE, audio)
    except LongAudioError:
        return await outcome_by_blocks(workers, audio)
    except (AudioError, WorkerDiedError) as error:
        return type(error)
    return waveform.samples


async def outcome_by_blocks(workers, audio):
    with tempfile.TemporaryFile() as file:
        file.write(audio)
        file.flush()
        try:
            async with workers.blocks(ANY_FILE, file.fileno()) as (_, blocks):
                return np.concatenate([block async for block in blocks])
        except (AudioError, WorkerDiedError) as error:
            return type(error)


async def until(condition, seconds=5.0):
    """Let the loop run until ``condition()`` holds; returns how long that took."""
    start = time.perf_counter()
    while not condition():
        assert time.perf_counter() - start < seconds, "in vain"
        await asyncio.sleep(0.001)
    return time.perf_counter() - start


async def replacement(workers, pid):
    """The seconds until another process stands in the place of ``pid``."""
    return await until(lambda: pid not in workers.pids and len(workers.pids) == workers._count)


@contextmanager
def held(pid):
    """The process does nothing meanwhile, so that its job takes as long as we like."""
    os.kill(pid, signal.SIGSTOP)
    yield
    with suppress(ProcessLookupError):  # where it was killed for it
        os.kill(pid, signal.SIGCONT)


async def begun(workers, audio):
    """A call whose job a process has been given."""
    task = asyncio.create_task(workers.decode(ANY_FILE, audio))
    await until(lambda: any(process.jobs for process in workers._processes.values()))
    assert not task.done()
    return task


@pytest.fixture(scope="module")
def audio(samples_of, file_of):
    return file_of(samples_of(0, 0.5), 16_000, "WAV", "PCM_16")


def kinds(samples_of, file_of):
    """Jobs, their bytes, and what :mod:`asr.audio` makes of these."""
    samples = samples_of(1, 1.0)
    both = np.stack([samples, samples_of(2, 1.0)], axis=1)
    for container, coding in [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]:
        data = file_of(both, 16_000, container, coding)
        for target, channel in [(16_000, None), (8_000, 1)]:
            job = AudioJob(container, 16_000, 0, channel, target)
            yield job, data, decode_audio(data, channel=channel)
    for encoding, kind in [("LINEAR16", "<i2"), ("FLOAT", "<f4"), ("MULAW", "u1"), ("ALAW", "u1")]:
        scale = {"<i2": 32_767, "u1": 127}.get(kind, 1)
        data = (both * scale).astype(kind).tobytes()
        for target, channel in [(8_000, 0), (11_025, None)]:
            job = AudioJob(encoding, 8_000, 2, channel, target)
            yield (
                job,
                data,
                decode_pcm(data, encoding=encoding, sample_rate=8_000, channels=2, channel=channel),
            )


@pytest.mark.parametrize("kind", ["M4A AAC", "WebM Opus", "MP3 of LAME"])
def test_what_people_upload_is_decoded_in_a_process_too(kind, rubbish, samples_of):
    pytest.importorskip("av", reason="the extra `formats` is not installed")
    data = rubbish.foreign(samples_of(1, 1.0), 16_000, kind)
    expected = decode_audio(data)

    async def use(workers):
        return await workers.decode(ANY_FILE, data)

    waveform, seconds, *_ = with_workers(use)
    assert seconds == expected.duration
    assert waveform.samples.tobytes() == resample(expected, 16_000).samples.tobytes()


def test_a_server_without_ffmpeg_says_what_to_send(monkeypatch, rubbish, samples_of):
    pytest.importorskip("av", reason="the extra `formats` is not installed")
    data = rubbish.foreign(samples_of(1, 1.0), 16_000, "M4A AAC")

    def none(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("asr.extras.import_module", none)
    with pytest.raises(AudioError, match="this server does not read such audio") as caught:
        decode(ANY_FILE, data, LIMITS)
    assert "pip" not in str(caught.value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_samples_are_those_of_the_toolkit(kind, samples_of, file_of):
    cases = list(kinds(samples_of, file_of))

    async def use(workers):
        return [await workers.decode(job, kind(data)) for job, data, _ in cases]

    for (job, _, expected), (waveform, seconds, _) in zip(cases, with_workers(use), strict=True):
        assert waveform.sample_rate == job.target_rate
        assert seconds == expected.duration
        resampled = resample(expected, job.target_rate).samples
        assert waveform.samples.tobytes() == resampled.tobytes()


@pytest.mark.parametrize(
    ("job", "data"),
    [
        (ANY_FILE, b""),
        (ANY_FILE, b"hello, this is text"),
        (ANY_FILE, bytes(LIMITS.max_bytes + 1)),
        (AudioJob("OGG", 0, 0, None, 16_000), "audio"),
        (AudioJob("MP3", 0, 0, None, 16_000), "audio"),
        (AudioJob("", 0, 0, 1, 16_000), "audio"),
        (AudioJob("", 8_000, 0, None, 16_000), "audio"),
        (AudioJob("LINEAR16", 0, 1, None, 16_000), b"\0\0"),
        (AudioJob("LINEAR16", 2**31 - 1, 1, None, 16_000), b"\0\0"),
        (AudioJob("LINEAR16", 16_000, -1, None, 16_000), b"\0\0"),
        (AudioJob("LINEAR16", 16_000, 1, None, 16_000), b"\0\0\0"),
        (AudioJob("FLOAT", 16_000, 1, None, 16_000), np.float32(np.nan).tobytes()),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_remedy(job, data, audio):
    async def use(workers):
        pids = workers.pids
        with pytest.raises(AudioError) as caught:
            await workers.decode(job, audio if data == "audio" else data)
        assert caught.value.remedy
        await workers.decode(ANY_FILE, audio)
        assert workers.pids == pids

    with_workers(use)


def test_fewer_samples_than_one_of_the_model_are_none():
    """The recogniser says what is too short for it; here nothing is invented."""

    async def use(workers):
        job = AudioJob("LINEAR16", 48_000, 1, None, 16_000)
        return await workers.decode(job, b"\1\0")

    waveform, seconds, *_ = with_workers(use)
    assert len(waveform.samples) == 0
    assert seconds == 1 / 48_000


def test_jobs_are_done_in_their_order(audio):
    async def use(workers):
        done = []

        async def call(number):
            await workers.decode(ANY_FILE, audio)
            done.append(number)

        await asyncio.gather(*(call(number) for number in range(50)))
        return done

    assert with_workers(use) == list(range(50))


def test_a_killed_process_fails_one_call_and_is_replaced_within_a_second(audio):
    async def kill_one(workers):
        """What became of ten calls, and the seconds until all processes were there again."""
        victim, other = workers._processes.values()
        before = victim.jobs, other.jobs
        with held(victim.pid), held(other.pid):
            calls = [asyncio.create_task(outcome(workers, audio)) for _ in range(10)]
            await until(lambda: (victim.jobs, other.jobs) == (before[0] + 1, before[1] + 1))
            os.kill(victim.pid, signal.SIGKILL)
            seconds = await replacement(workers, victim.pid)
        return await asyncio.gather(*calls), seconds

    async def use(workers):
        return [await kill_one(workers) for _ in range(3)]

    expected = decode_audio(audio).samples
    rounds = with_workers(use, count=2)
    for results, _ in rounds:
        assert len([result for result in results if result is WorkerDiedError]) == 1
        assert sum(np.array_equal(result, expected) for result in results) == 9
    assert min(seconds for _, seconds in rounds) < 1.0  # others may use this machine too


def test_a_process_killed_between_jobs_fails_no_call(audio):
    async def use(workers):
        for _ in range(3):
            victim = workers.pids[0]
            ended = os.pidfd_open(victim)
            os.kill(victim, signal.SIGKILL)
            assert select.select([ended], [], [], 5.0)[0]  # dead, and the loop does not know
            os.close(ended)
            calls = (workers.decode(ANY_FILE, audio) for _ in range(4))
            await asyncio.gather(*calls)
            await replacement(workers, victim)

    with_workers(use, count=2)


def test_a_job_that_takes_too_long_is_refused_and_the_next_one_done(audio):
    async def use(workers):
        with held(workers.pids[0]):
            first = asyncio.create_task(outcome(workers, audio))
            second = asyncio.create_task(outcome(workers, audio))
            assert await first is AudioError
        assert len(await second) == 8_000

    with_workers(use, seconds_per_job=0.2)


def test_a_cancelled_job_does_not_hold_the_next_one_up(audio):
    async def use(workers):
        [pid] = workers.pids
        with held(pid):
            call = await begun(workers, audio)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await replacement(workers, pid)
        assert len(await outcome(workers, audio)) == 8_000

    with_workers(use)


def test_a_cancelled_job_that_fails_is_no_defect(audio):
    """Nobody asks for its error any more; asyncio complains of such when the task is collected."""
    complaints = []

    async def use(workers):
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.append(context["message"])
        )
        for data in (b"hello, this is text", audio):
            [pid] = workers.pids
            with held(pid):
                call = await begun(workers, data)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await replacement(workers, pid)
        del call
        gc.collect()
        await asyncio.sleep(0)

    with_workers(use)
    assert complaints == []


def test_a_cancelled_job_that_is_nearly_done_costs_no_process(audio):
    async def use(workers):
        pids = workers.pids
        for _ in range(20):
            call = asyncio.create_task(workers.decode(ANY_FILE, audio))
            await asyncio.sleep(0)  # it is handed over
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert len(await outcome(workers, audio)) == 8_000
        assert workers.pids == pids

    with_workers(use)


def test_a_call_cancelled_in_the_queue_takes_nobodys_turn(audio):
    async def use(workers):
        [process] = workers._processes.values()
        with held(process.pid):
            first = await begun(workers, audio)
            waiting = [asyncio.create_task(workers.decode(ANY_FILE, audio)) for _ in range(9)]
            await until(lambda: len(workers._waiting) == 9)
            for call in waiting[::2]:
                call.cancel()
            await until(lambda: len(workers._waiting) == 4)
        await first
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(r, asyncio.CancelledError) for r in results] == [True, False] * 4 + [
            True
        ]
        assert process.jobs == 5
        assert workers.pids == [process.pid]

    with_workers(use)


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_and_killed_at_random_every_call_ends_and_the_rest_is_right(seed, audio):
    rng = np.random.default_rng(seed)
    expected = decode_audio(audio).samples

    async def use(workers):
        calls = []
        for turn in range(200):
            calls.append(asyncio.create_task(outcome(workers, audio)))
            if rng.random() < 0.5:
                await asyncio.sleep(rng.choice([0, 0, 1e-3]))
            if rng.random() < 0.3:
                calls[rng.integers(len(calls))].cancel()
            if turn % 50 == 49 and workers.pids:
                with suppress(ProcessLookupError):  # where it has ended just now
                    os.kill(rng.choice(workers.pids), signal.SIGKILL)
        return await asyncio.gather(*calls, return_exceptions=True)

    results = with_workers(use, count=2)
    right = [np.array_equal(r, expected) for r in results if isinstance(r, np.ndarray)]
    died = [r for r in results if r is WorkerDiedError]
    cancelled = [r for r in results if isinstance(r, asyncio.CancelledError)]
    assert all(right)
    assert len(died) <= 4
    assert len(right) + len(died) + len(cancelled) == 200
    assert len(right) > 100


def test_closing_ends_calls_processes_and_descriptors(audio):
    async def use():
        workers = AudioWorkers(1, LIMITS)
        await workers.start()
        [pid] = workers.pids
        with held(pid):
            running = await begun(workers, audio)
            waiting = asyncio.create_task(workers.decode(ANY_FILE, audio))
            await until(lambda: workers._waiting)
            await workers.close()
        for call in (running, waiting, workers.decode(ANY_FILE, audio)):
            with pytest.raises(WorkerDiedError):
                await call
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(use())
    before = sorted(os.listdir("/proc/self/fd"))
    asyncio.run(use())
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_is_closed_at_once_leaves_no_process():
    async def use(workers):
        return workers.pids

    assert not [pid for pid in with_workers(use, count=2) if Path(f"/proc/{pid}").exists()]


def test_a_failed_call_does_not_keep_its_audio():
    class Audio(bytearray):
        pass

    async def use(workers):
        data = Audio(b"hello, this is text")
        gone = weakref.ref(data)
        with pytest.raises(AudioError):
            await workers.decode(ANY_FILE, data)
        del data
        await asyncio.sleep(0)
        return gone() is None

    gc.disable()  # as a server under load: the next collection may be far
    try:
        assert with_workers(use)
    finally:
        gc.enable()


def test_processes_end_when_the_server_is_killed():
    code = """
import asyncio
from server.audio.pool import AudioWorkers, AudioLimits
async def live():
    async with AudioWorkers(2, AudioLimits()) as workers:
        print(*workers.pids, flush=True)
        await asyncio.Event().wait()
asyncio.run(live())
"""
    server = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in server.stdout.readline().split()]
    descriptors = [os.pidfd_open(pid) for pid in pids]
    with held(pids[1]):  # as if it was busy
        server.kill()
        server.communicate()
        for descriptor in descriptors:
            readable, _, _ = select.select([descriptor], [], [], 5.0)  # when the process has ended
            os.close(descriptor)
            assert readable


def test_a_process_that_does_not_start_is_an_error_at_start(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigError, match="no process for decoding"):
        with_workers(None, count=2)


def bombard(payloads, callers=4):
    """Send all ``payloads``; returns outcomes and seconds. All processes live on."""

    async def use(workers):
        pids = workers.pids
        outcomes, seconds = [], []

        async def caller():
            for name, data in payloads:
                start = time.perf_counter()
                result = await outcome(workers, data)
                seconds.append(time.perf_counter() - start)
                assert result is not WorkerDiedError, name
                outcomes.append(result)

        await asyncio.gather(*(caller() for _ in range(callers)))
        assert workers.pids == pids
        return outcomes, seconds

    return with_workers(use, count=2)


@pytest.mark.parametrize("count", [700, pytest.param(10_000, marks=pytest.mark.slow)])
def test_invalid_payloads_are_all_refused(count, rubbish):
    outcomes, _ = bombard(rubbish.invalid_payloads(count, seed=1))
    assert len(outcomes) == count
    assert all(result is AudioError for result in outcomes)


@pytest.mark.parametrize(
    "count", [2_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_damaged_files_give_samples_or_a_clear_error(count, rubbish):
    outcomes, seconds = bombard(rubbish.mutants(count, seed=1))
    assert len(outcomes) == count
    accepted = [result for result in outcomes if result is not AudioError]
    assert 0.1 * count < len(accepted) < 0.6 * count
    assert np.quantile(seconds, 0.99) < 0.2
