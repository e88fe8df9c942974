"""Recordings that are read block by block."""

import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import (
    OWN_RECORDINGS,
    Recording,
    decode_pcm,
    mapped,
    pcm_blocks,
    read_audio,
    resample,
    write_wav,
)
from asr.types import AudioError, Waveform


def noise(seconds, rate=16_000, seed=0):
    rng = np.random.default_rng(seed)
    samples = np.clip(0.2 * rng.standard_normal(int(seconds * rate)), -1, 1)
    return Waveform(samples.astype(np.float32), rate)


def joined(recording, rate):
    return np.concatenate(list(recording.blocks(rate)))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_blocks_are_the_whole_file_at_the_rate_asked_for(tmp_path, rate):
    path = tmp_path / "a.wav"
    write_wav(path, noise(21, rate))
    recording = Recording(path, OWN_RECORDINGS)
    expected = resample(read_audio(path), 16_000).samples
    blocks = list(recording.blocks(16_000))
    assert len(blocks) > 2
    assert recording.info.duration == 21
    np.testing.assert_allclose(np.concatenate(blocks), expected, rtol=0, atol=1e-6)
    assert np.array_equal(recording.read().samples, read_audio(path).samples)


def test_recordings_joined_in_a_file_follow_each_other(tmp_path):
    parts = [tmp_path / "a.wav", tmp_path / "b.wav"]
    write_wav(parts[0], noise(2, 8_000))
    write_wav(parts[1], noise(1, 16_000, 1))
    both = tmp_path / "both.wav"
    both.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    recording = Recording(both, OWN_RECORDINGS)
    assert recording.info.duration == 3
    found = joined(recording, 16_000)
    assert len(found) == 48_000
    assert np.array_equal(found[32_000:], read_audio(parts[1]).samples)


def test_a_pipe_is_read_once_and_may_be_longer_than_memory_should_hold(tmp_path):
    path, pipe = tmp_path / "a.wav", tmp_path / "pipe"
    write_wav(path, noise(3))
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    recording = Recording(pipe, OWN_RECORDINGS)
    writer.join()
    assert np.array_equal(joined(recording, 16_000), read_audio(path).samples)


def test_a_pipe_beyond_the_limit_of_bytes_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "a.wav"
    write_wav(path, noise(1))
    for data, told in ((path.read_bytes(), "more than 1000 bytes"), (bytes(5000), "not audio")):
        writer = threading.Thread(target=pipe.write_bytes, args=(data,))
        writer.start()
        with pytest.raises(AudioError, match=told) as caught:
            Recording(pipe, replace(OWN_RECORDINGS, max_bytes=1000))
        writer.join()
        assert caught.value.where == str(pipe)


def test_what_is_missing_or_damaged_is_told_with_the_file(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, noise(2))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:-1000])
    for broken in (cut, tmp_path / "none.wav", tmp_path):
        with pytest.raises(AudioError) as caught:
            Recording(broken, OWN_RECORDINGS)
        assert caught.value.where == str(broken)
        assert caught.value.remedy


def test_a_sample_that_is_no_number_is_told_where_it_is(tmp_path):
    path = tmp_path / "a.wav"
    samples = noise(1).samples.copy()
    samples[12_345] = np.nan
    data = samples.tobytes()
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\x03\0\x01\0"
    head += (16_000).to_bytes(4, "little") + (64_000).to_bytes(4, "little") + b"\x04\0\x20\0"
    path.write_bytes(head + b"data" + len(data).to_bytes(4, "little") + data)
    with pytest.raises(AudioError, match="sample 12345 is not a finite number") as caught:
        joined(Recording(path, OWN_RECORDINGS), 16_000)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("channel", [None, 0, 1])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_samples_without_a_header_come_by_blocks_as_they_come_at_once(rate, channel):
    stereo = np.stack([noise(20, rate).samples, noise(20, rate, 1).samples], axis=1)
    data = np.rint(30_000 * np.clip(stereo, -1, 1)).astype("<i2").tobytes()
    options = {"encoding": "LINEAR16", "channels": 2, "channel": channel}
    blocks = pcm_blocks(data, 16_000, source_rate=rate, limits=OWN_RECORDINGS, **options)
    whole = decode_pcm(data, sample_rate=rate, **options)
    found = np.concatenate(list(blocks))
    np.testing.assert_allclose(found, resample(whole, 16_000).samples, rtol=0, atol=1e-6)
    assert (blocks.seconds, blocks.source_rate) == (20, rate)


def test_samples_without_a_header_are_checked_before_any_comes():
    options = {"encoding": "LINEAR16", "source_rate": 16_000, "limits": OWN_RECORDINGS}
    for data, channels, told in (
        (bytes(999), 1, "not whole frames"),
        (b"", 1, "empty"),
        (bytes(1000), 9, "9 channels"),
        (b"fLaC" + bytes(1000), 1, "header: FLAC"),
    ):
        with pytest.raises(AudioError, match=told):
            pcm_blocks(data, 16_000, channels=channels, **options)
    with pytest.raises(AudioError, match="no channel 1"):
        list(pcm_blocks(bytes(1000), 16_000, channels=1, channel=1, **options))


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_of_a_large_file_only_what_is_being_read_is_in_memory(tmp_path, kind):
    """Opening it looks through all of it for what may be joined there."""
    path = tmp_path / "long"
    write = {"FLAC": "PCM_16", "OGG": "VORBIS"}
    soundfile.write(path, noise(1).samples, 16_000, write[kind], format=kind)
    os.truncate(path, 128 * 1024 * 1024)  # zeros that take no room on the disk
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = held("VmRSS")
    assert Recording(path, OWN_RECORDINGS).info.duration == 1.0
    assert held("VmHWM") - before < 64 * 1024 * 1024
    assert held("VmRSS") - before < 16 * 1024 * 1024


def held(name):
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(name)) * 1024


@pytest.mark.parametrize("step", [1, 3, 10, 100])
def test_what_is_looked_for_is_found_across_steps(monkeypatch, tmp_path, step):
    monkeypatch.setattr(mapped, "STEP", step)
    path = tmp_path / "bytes"
    path.write_bytes(b"abcabcabd" * 3)
    with mapped.mapped(path) as data:
        for wanted in (b"abd", b"b", b"dabc", b"xyz"):
            for start in range(len(data) + 2):
                found = mapped.find(data, re.compile(wanted), start)
                assert found == data.find(wanted, start)
