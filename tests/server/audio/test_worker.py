"""What an audio worker may do, and the memory that it takes."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from asr.audio import AudioLimits
from asr.types import AudioError
from server.audio.pool import AudioJob, AudioWorkers
from server.audio.worker import OWN_BYTES, address_space

LIMITS = AudioLimits()
ANY_FILE = AudioJob("", 0, 0, None, 16_000)
MIB = 1024 * 1024


def with_process(use, limits=LIMITS):
    """What ``await use(workers)`` returns; its one process lives on."""

    async def live():
        async with AudioWorkers(1, limits, seconds_per_job=120) as workers:
            pids = workers.pids
            result = await use(workers)
            assert workers.pids == pids
            return result

    return asyncio.run(live())


def test_a_process_may_do_little(samples_of, file_of):
    audio = file_of(samples_of(0, 0.5), 16_000, "WAV", "PCM_16")

    async def use(workers):
        [pid] = workers.pids
        for number in (signal.SIGINT, signal.SIGTERM):  # of the terminal or the service manager
            os.kill(pid, number)
        await workers.decode(ANY_FILE, audio)
        return [Path(f"/proc/{pid}/{name}").read_text() for name in ("limits", "environ", "maps")]

    limits, environment, maps = with_process(use)
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert rows["Max address space"] == 2 * [str(address_space(LIMITS))]
    assert rows["Max core file size"] == rows["Max file size"] == ["0", "0"]
    assert rows["Max open files"] == ["16", "16"]
    names = {entry.partition("=")[0] for entry in environment.split("\0") if entry}
    assert names <= {
        *("PYTHONPATH", "PYTHONSAFEPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        "LD_LIBRARY_PATH",
    }
    assert "libsndfile" in maps
    assert "torch" not in maps
    assert "grpc" not in maps


def test_the_reader_of_a_long_recording_may_do_as_little(
    samples_of, file_of, tmp_path, monkeypatch
):
    """It is given the file and no way to any other; a bomb takes it no memory."""
    monkeypatch.setenv("ASR_TOKEN", "its server's")
    path = tmp_path / "a.wav"
    path.write_bytes(file_of(samples_of(0, 3), 16_000, "WAV", "PCM_16"))

    async def use(workers):
        with path.open("rb") as file:
            async with workers.blocks(ANY_FILE, file.fileno()) as (reader, blocks):
                count = sum([len(block) async for block in blocks])
                assert (count, reader.seconds) == (3 * 16_000, 3.0)
            async with workers.blocks(ANY_FILE, file.fileno()) as (reader, blocks):
                await anext(blocks)
                proc = Path(f"/proc/{reader.pid}")
                return [(proc / name).read_text() for name in ("limits", "environ", "maps")]

    limits, environment, maps = with_process(use)
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert rows["Max address space"] == 2 * [str(OWN_BYTES + path.stat().st_size)]
    assert rows["Max core file size"] == rows["Max file size"] == ["0", "0"]
    assert "ASR_TOKEN" not in environment
    assert "torch" not in maps
    assert "grpc" not in maps


@pytest.mark.parametrize("form", ["closed", "open", "joined"])
@pytest.mark.parametrize(
    ("seconds", "rate"), [(60, 4_000), pytest.param(600, 176_400, marks=pytest.mark.slow)]
)
def test_the_longest_audio_fits_into_the_memory_a_process_may_have(seconds, rate, form, rubbish):
    limits = AudioLimits(max_seconds=seconds, max_expansion=math.inf)
    audio = rubbish.silence(seconds / (1 + (form == "joined")), rate, 1, "FLAC", "PCM_16")
    if form == "open":  # its header does not say how long it is
        audio = rubbish.flac_claiming(audio, frames=0)
    if form == "joined":
        audio += audio

    async def use(workers):
        waveform, duration, _ = await workers.decode(AudioJob("", 0, 0, None, 192_000), audio)
        return len(waveform.samples), duration

    assert with_process(use, limits) == (seconds * 192_000, seconds)


def peak_growth(data, limits):
    """Bytes that a process takes at its peak beyond what it has, and the samples or None."""

    async def use(workers):
        [pid] = workers.pids
        await workers.decode(AudioJob("LINEAR16", 48_000, 1, None, 16_000), bytes(9_600))
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        before = memory(pid, "VmRSS")
        try:
            waveform, *_ = await workers.decode(ANY_FILE, data)
        except AudioError:
            waveform = None
        return memory(pid, "VmHWM") - before, waveform and waveform.samples

    return with_process(use, limits)


def memory(pid, name):
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(name)) * 1024


BOMBS = {  # seconds, rate, channels, container, coding
    "FLAC": (600, 48_000, 1, "FLAC", "PCM_16"),
    "8-channel FLAC": (100, 48_000, 8, "FLAC", "PCM_16"),
    "Vorbis": (50, 48_000, 8, "OGG", "VORBIS"),
    "Opus": (200, 48_000, 2, "OGG", "OPUS"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_refusing_a_bomb_takes_little_memory(name, rubbish):
    seconds, rate, channels, container, coding = BOMBS[name]
    bomb = rubbish.silence(seconds, rate, channels, container, coding)
    assert seconds * rate * channels * 4 > max(100 * len(bomb), 70 * MIB)
    growth, result = peak_growth(bomb, LIMITS)
    assert result is None
    assert growth < 64 * MIB


def test_a_bomb_of_ffmpegs_takes_little_memory(rubbish):
    pytest.importorskip("av", reason="the extra `formats` is not installed")
    silence = np.zeros(185 * 48_000, np.float32)
    growth, result = peak_growth(rubbish.foreign(silence, 48_000, "Matroska FLAC"), LIMITS)
    assert result is None
    assert growth < 64 * MIB + 35 * MIB  # FFmpeg itself, loaded with the first such job


def test_a_bomb_that_does_not_say_how_large_it_is_takes_little_memory(rubbish):
    bomb = rubbish.flac_claiming(rubbish.silence(600, 48_000, 1, "FLAC", "PCM_16"), frames=0)
    growth, result = peak_growth(bomb, LIMITS)
    assert result is None
    assert growth < 64 * MIB


def test_a_bomb_in_many_links_takes_little_memory(rubbish):
    link = rubbish.silence(10, 48_000, 2, "OGG", "OPUS")
    bomb = 30 * link
    assert max(100 * len(bomb), 70 * MIB) < 10 * 48_000 * 2 * 4 * 30
    growth, result = peak_growth(bomb, LIMITS)
    assert result is None
    assert growth < 64 * MIB


@pytest.mark.parametrize("limits", [LIMITS, AudioLimits(max_rate=2**20)])
def test_a_flac_file_of_an_impossible_rate_takes_little_memory(limits, rubbish):
    data = rubbish.silence(100, 48_000, 8, "FLAC", "PCM_16")
    data = rubbish.flac_claiming(data, rate=655_350)
    growth, result = peak_growth(data, limits)
    assert result is None
    assert growth < 64 * MIB


def test_eight_channels_never_lie_in_memory_as_a_whole(rubbish):
    data = rubbish.silence(100, 48_000, 8, "FLAC", "PCM_16")  # 147 MiB of float32
    growth, result = peak_growth(data, AudioLimits(max_expansion=math.inf))
    assert len(result) == 1_600_000
    assert growth < 64 * MIB
