"""Samples without a header."""

import numpy as np
import pytest

from asr.audio import AudioLimits, decode_pcm
from asr.types import AudioError

RATE = 16_000
ALL_CODES = bytes(range(256))


def tone():
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)).astype("f4")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(("encoding", "kind"), [("LINEAR16", "i2"), ("FLOAT", "f4")])
def test_raw_samples_need_no_header(order, encoding, kind):
    samples = tone() * (32767 if kind == "i2" else 1)
    data = samples.astype(("<" if order == "little" else ">") + kind).tobytes()
    waveform = decode_pcm(data, encoding=encoding, sample_rate=8000, byte_order=order)
    assert waveform.sample_rate == 8000
    np.testing.assert_allclose(waveform.samples, tone(), atol=1e-4)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"\0\0\0", {}),
        (b"", {}),
        (b"\0\0", {"encoding": "MP3"}),
        (b"\0\0", {"sample_rate": 1}),
        (b"\0\0", {"sample_rate": 10**9}),
        (b"\0\0", {"channels": 0}),
        (b"\0" * 200, {"channels": 100}),
        (b"\0\0", {"byte_order": "middle"}),
        (np.array([0.0, np.nan], "<f4").tobytes(), {"encoding": "FLOAT"}),
        (b"\0" * 10_000, {"limits": AudioLimits(max_seconds=0.1)}),
        (b"\0" * 10_000, {"limits": AudioLimits(max_bytes=9_999)}),
    ],
)
def test_impossible_raw_audio_is_refused(data, options):
    with pytest.raises(AudioError):
        decode_pcm(data, **{"encoding": "LINEAR16", "sample_rate": RATE, **options})


def mulaw_levels():
    """What the 256 codes mean, as ITU-T G.711, table 2a, has them: of 14 bits with the sign."""
    code = ~np.arange(256, dtype=np.uint8)  # all bits are sent inverted
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    size = ((2 * mantissa + 33) << exponent) - 33
    return np.where(code & 0x80, -size, size) / 8192


def alaw_levels():
    """What the 256 codes mean, as ITU-T G.711, table 1a, has them: of 13 bits with the sign."""
    code = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)  # every other bit is sent inverted
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    steep = (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    size = np.where(exponent == 0, 2 * mantissa + 1, steep)
    return np.where(code & 0x80, size, -size) / 4096


@pytest.mark.parametrize(
    ("encoding", "levels"), [("MULAW", mulaw_levels()), ("ALAW", alaw_levels())]
)
def test_all_telephone_codes_mean_what_the_standard_says(encoding, levels):
    waveform = decode_pcm(ALL_CODES, encoding=encoding, sample_rate=8000)
    np.testing.assert_array_equal(waveform.samples, levels)


@pytest.mark.parametrize(
    ("encoding", "values"),
    [  # ITU-T G.711 tables 1a and 2a: the largest, the smallest and their codes
        ("MULAW", {0x80: 8031, 0x00: -8031, 0xFF: 0, 0xFE: 2, 0xEF: 33}),
        ("ALAW", {0xAA: 4032, 0x2A: -4032, 0xD5: 1, 0x55: -1}),
    ],
)
def test_the_ends_of_the_scale_are_those_of_the_standard(encoding, values):
    full_scale = {"MULAW": 8192, "ALAW": 4096}[encoding]
    samples = decode_pcm(ALL_CODES, encoding=encoding, sample_rate=8000).samples * full_scale
    assert {code: samples[code] for code in values} == values


@pytest.mark.parametrize("encoding", ["LINEAR16", "FLOAT", "MULAW", "ALAW"])
def test_channels_are_averaged_or_chosen(encoding):
    """Blocks do not matter: 100,000 frames are more than one."""
    codes = np.random.default_rng(0).integers(0, 255, (100_000, 2), np.uint8)
    kind = {"LINEAR16": "<i2", "FLOAT": "<f4"}.get(encoding, "u1")
    data = (codes / 256 if encoding == "FLOAT" else codes).astype(kind)

    def decode(of, **options):
        return decode_pcm(of.tobytes(), encoding=encoding, sample_rate=RATE, **options).samples

    left, right = decode(data[:, 0]), decode(data[:, 1])
    np.testing.assert_array_equal(decode(data, channels=2, channel=0), left)
    np.testing.assert_array_equal(decode(data, channels=2, channel=1), right)
    np.testing.assert_array_equal(decode(data, channels=2), (left + right) / 2)
    with pytest.raises(AudioError, match="channel 2"):
        decode(data, channels=2, channel=2)


@pytest.mark.parametrize("value", [1e30, -3e38])
def test_a_sample_of_absurd_size_is_named(value):
    samples = np.zeros((200, 2), "f4")
    samples[123] = value
    with pytest.raises(AudioError, match="sample 123 is far outside"):
        decode_pcm(samples.tobytes(), encoding="FLOAT", sample_rate=RATE, channels=2)


def test_the_first_bad_sample_is_named_beyond_the_first_block():
    samples = np.zeros((200_000, 2), "f4")
    samples[150_000, 1] = samples[160_000, 0] = np.nan
    with pytest.raises(AudioError, match="sample 150000 is not a finite number"):
        decode_pcm(samples.tobytes(), encoding="FLOAT", sample_rate=RATE, channels=2, channel=0)


def test_decoded_bytes_are_limited_too():
    data = bytes(1000)
    limits = AudioLimits(max_decoded_bytes=4000)
    assert len(decode_pcm(data, encoding="MULAW", sample_rate=8000, limits=limits).samples) == 1000
    with pytest.raises(AudioError, match="decodes to more than 4000 bytes"):
        decode_pcm(data + b"\0", encoding="MULAW", sample_rate=8000, limits=limits)
