"""Audio that comes in pieces is what it is as a whole."""

import io
import struct

import numpy as np
import pytest
import soundfile
import soxr

from asr.audio import PcmStream, WavStream, decode_pcm
from asr.types import AudioError

RATE = 16_000
SUBTYPES = {"LINEAR16": "PCM_16", "FLOAT": "FLOAT", "MULAW": "ULAW", "ALAW": "ALAW"}


def noise(frames=4_000, channels=1):
    return np.random.default_rng(0).uniform(-0.9, 0.9, (frames, channels)).astype(np.float32)


def raw(encoding, frames=4_000, channels=1):
    file = io.BytesIO()
    soundfile.write(file, noise(frames, channels), RATE, SUBTYPES[encoding], "LITTLE", format="RAW")
    return file.getvalue()


def wav(subtype="PCM_16", samples=None):
    file = io.BytesIO()
    soundfile.write(file, noise() if samples is None else samples, RATE, subtype, format="WAV")
    return file.getvalue()


def heard(stream, data, piece):
    parts = [stream.push(data[at : at + piece]) for at in range(0, len(data), piece)]
    return np.concatenate([*parts, stream.end()])


@pytest.mark.parametrize("encoding", SUBTYPES)
@pytest.mark.parametrize(("channels", "channel"), [(1, None), (3, None), (3, 1)])
def test_samples_are_those_that_libsndfile_reads(encoding, channels, channel):
    data = raw(encoding, channels=channels)
    whole = decode_pcm(
        data, encoding=encoding, sample_rate=RATE, channels=channels, channel=channel
    )
    found = heard(PcmStream(encoding, RATE, channels, channel, RATE), data, 333)
    np.testing.assert_array_equal(found, whole.samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
def test_pieces_change_no_bit_at_another_rate(rate):
    data = raw("LINEAR16")
    whole = heard(PcmStream("LINEAR16", rate, 1, None, RATE), data, len(data))
    for piece in (1, 7, 1_000):
        np.testing.assert_array_equal(
            heard(PcmStream("LINEAR16", rate, 1, None, RATE), data, piece), whole
        )
    samples = decode_pcm(data, encoding="LINEAR16", sample_rate=rate).samples
    np.testing.assert_allclose(whole, soxr.resample(samples, rate, RATE, "HQ"), atol=1e-5)


@pytest.mark.parametrize("subtype", SUBTYPES.values())
@pytest.mark.parametrize("piece", [1, 50, 5_000])
def test_a_wav_file_is_read_while_it_comes(subtype, piece):
    data = wav(subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(heard(WavStream(0, None, RATE), data, piece), expected)


def test_what_follows_the_samples_of_a_wav_file_is_not_heard():
    data = wav() + b"LIST" + struct.pack("<I", 4_000) + b"\x55" * 4_000
    assert len(heard(WavStream(0, None, RATE), data, 500)) == 4_000


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_wav_header_may_leave_the_size_open(size):
    data = wav()
    at = data.index(b"data") + 4
    data = data[:at] + struct.pack("<I", size) + data[at + 4 :]
    assert len(heard(WavStream(RATE, None, RATE), data, 500)) == 4_000


@pytest.mark.parametrize(
    ("make", "data", "words"),
    [
        (lambda: PcmStream("LINEAR16", RATE, 1, None, RATE), wav(), "with a header: WAV"),
        (lambda: PcmStream("LINEAR16", RATE, 1, None, RATE), wav()[:20], "with a header: WAV"),
        (
            lambda: PcmStream("LINEAR16", RATE, 1, None, RATE),
            raw("LINEAR16")[:-1],
            "within a frame",
        ),
        (lambda: WavStream(0, None, RATE), raw("LINEAR16"), "not WAV"),
        (lambda: WavStream(0, None, RATE), wav()[:30], "cut short"),
        (lambda: WavStream(0, None, RATE), wav()[:-2], "cut short"),
        (lambda: WavStream(0, None, RATE), wav("PCM_24"), "cannot be read while it comes"),
        (lambda: WavStream(8_000, None, RATE), wav(), "the audio's header says 16000"),
        (lambda: WavStream(0, 1, RATE), wav(), "no channel 1"),
        (
            lambda: WavStream(0, None, RATE),
            wav()[:36] + b"junk" + struct.pack("<I", 10**6) + bytes(70_000),
            "no samples",
        ),
    ],
)
@pytest.mark.parametrize("piece", [1, 10_000])
def test_what_is_something_else_is_refused(make, data, words, piece):
    with pytest.raises(AudioError, match=words):
        heard(make(), data, piece)


def test_the_first_sample_that_is_no_number_is_named_wherever_the_cut_is():
    samples = noise()
    samples[3_210] = np.nan
    for piece in (10, 1_111):
        with pytest.raises(AudioError, match="sample 3210 is not a finite number"):
            heard(PcmStream("FLOAT", RATE, 1, None, RATE), samples.tobytes(), piece)


@pytest.mark.parametrize(("rate", "channels"), [(3_999, 1), (192_001, 1), (RATE, 0), (RATE, 9)])
def test_limits_hold_before_there_are_samples(rate, channels):
    with pytest.raises(AudioError):
        PcmStream("LINEAR16", rate, channels, None, RATE)


def test_no_audio_is_no_samples():
    for rate in (8_000, RATE):
        assert not len(PcmStream("LINEAR16", rate, 1, None, RATE).end())
