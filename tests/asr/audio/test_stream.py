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


def rf64(samples: bytes, more: bytes = b"") -> bytes:
    """The form of WAV whose sizes have 64 bits (EBU Tech 3306)."""
    sizes = struct.pack("<IQQQI", 28, 72 + len(samples) + len(more), len(samples), 0, 0)
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = b"RF64" + b"\xff" * 4 + b"WAVEds64" + sizes + b"fmt " + form + b"data" + b"\xff" * 4
    return head + samples + more


@pytest.mark.parametrize("piece", [1, 500, 100_000])
def test_sizes_of_64_bits_are_read(piece):
    samples = raw("LINEAR16")
    odd = b"LIST" + struct.pack("<I", 7) + b"\x55" * 7
    found = heard(WavStream(0, None, RATE), rf64(samples, odd), piece)
    np.testing.assert_array_equal(found, np.frombuffer(samples, "<i2") / np.float32(32768))


@pytest.mark.parametrize("rate", [8_000, RATE, 44_100])
@pytest.mark.parametrize("encoding", ["LINEAR16", "MULAW"])
def test_what_is_flushed_is_what_a_stream_that_ends_there_gives(rate, encoding):
    """And what comes after it begins anew; a frame that is cut stays for that."""
    data = raw(encoding, 3_000)
    cut = len(data) // 3 // 2 * 2
    parts = [data[:cut], data[cut:]]
    wholes = [heard(PcmStream(encoding, rate, 1, None, RATE), part, len(data)) for part in parts]
    more = len(data) // 3 % 2 if encoding == "LINEAR16" else 0
    for piece in (1, 77, len(data)):
        stream = PcmStream(encoding, rate, 1, None, RATE)
        first = [stream.push(data[at : min(at + piece, cut)]) for at in range(0, cut, piece)]
        first += [stream.push(data[cut : cut + more]), stream.flush(), stream.flush()]
        rest = data[cut + more :]
        second = [stream.push(rest[at : at + piece]) for at in range(0, len(rest), piece)]
        np.testing.assert_array_equal(np.concatenate(first), wholes[0])
        np.testing.assert_array_equal(np.concatenate([*second, stream.end()]), wholes[1])


def test_nothing_can_be_flushed_and_headers_are_still_looked_for():
    stream = PcmStream("LINEAR16", 8_000, 1, None, RATE)
    assert not len(stream.flush())
    with pytest.raises(AudioError, match="with a header: WAV"):
        heard(stream, wav(), 100)
    file = WavStream(0, None, RATE)
    data = wav()
    assert not len(np.concatenate([file.push(data[:20]), file.flush()]))
    assert len(file.push(data[20:1_044])) + len(file.flush()) == 500
    assert len(np.concatenate([file.push(data[1_044:]), file.end()])) == 3_500


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
        (
            lambda: WavStream(0, None, RATE),
            b"RIFF\x64\0\0\0WAVEfmt \0\0\0\0data\xe8\x03\0\0" + bytes(1_000),
            "cannot be read while it comes",
        ),
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
