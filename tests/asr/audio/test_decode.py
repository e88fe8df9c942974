"""Audio in its containers, and rubbish in theirs."""

import io
import math
import struct
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from asr.audio import (
    AudioLimits,
    decode_audio,
    probe,
    read_audio,
    resample,
    write_wav,
)
from asr.types import AudioError, Waveform

RATE = 16_000


def tone(seconds=0.5, rate=RATE, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def encoded(samples, rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **options)
    return buffer.getvalue()


WAV = encoded(tone(), format="WAV", subtype="PCM_16")


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"format": "WAV", "subtype": "PCM_16"}, 1e-4),
        ({"format": "WAV", "subtype": "FLOAT"}, 1e-7),
        ({"format": "WAV", "subtype": "ULAW"}, 2e-2),
        ({"format": "WAVEX", "subtype": "PCM_24"}, 1e-6),
        ({"format": "FLAC", "subtype": "PCM_16"}, 1e-4),
        ({"format": "NIST", "subtype": "PCM_16"}, 1e-4),
    ],
)
def test_containers_give_their_samples_back(options, tolerance):
    waveform = decode_audio(encoded(tone(), **options))
    assert waveform.sample_rate == RATE
    assert waveform.samples.dtype == np.float32
    np.testing.assert_allclose(waveform.samples, tone(), atol=tolerance)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_gives_about_its_samples_back(subtype):
    waveform = decode_audio(encoded(tone(), format="OGG", subtype=subtype))
    middle = slice(2000, 6000)
    assert np.corrcoef(waveform.samples[middle], tone()[middle])[0, 1] > 0.99


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("channel", [None, 0, -1])
def test_blocks_are_no_audible_matter(channels, channel):
    """The samples are those of the whole file at once, to the bit."""
    channel = channel and channels - 1
    noise = np.random.default_rng(0).standard_normal((150_001, channels)).astype("f4")
    data = encoded(noise, format="WAV", subtype="FLOAT")
    expected = noise.mean(axis=1) if channel is None else noise[:, channel]
    assert decode_audio(data, channel=channel).samples.tobytes() == expected.tobytes()


def test_channels_are_averaged_or_chosen():
    left, right = tone(), tone(hertz=700.0)
    data = encoded(np.stack([left, right], axis=1), format="WAV", subtype="FLOAT")
    np.testing.assert_allclose(decode_audio(data).samples, (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(decode_audio(data, channel=1).samples, right, atol=1e-6)
    with pytest.raises(AudioError, match="channel 2"):
        decode_audio(data, channel=2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"hello, this is text",
        b"ID3\x04" + bytes(100),
        WAV[:40],
        b"fLaC" + bytes(100),
        b"OggS" + bytes(100),
        encoded(np.zeros(0, "f4"), format="WAV"),
    ],
    ids=["empty", "magic alone", "text", "mp3", "header cut", "flac", "ogg", "no samples"],
)
def test_what_is_not_audio_is_refused(data):
    with pytest.raises(AudioError) as caught:
        decode_audio(data)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_named(value):
    samples = tone()
    samples[123] = value
    with pytest.raises(AudioError, match="sample 123 "):
        decode_audio(encoded(samples, format="WAV", subtype="FLOAT"))


def test_floats_somewhat_beyond_full_scale_are_kept():
    samples = tone() * 32768
    waveform = decode_audio(encoded(samples, format="WAV", subtype="FLOAT"))
    np.testing.assert_array_equal(waveform.samples, samples)


def test_shortened_sphere_is_called_by_its_name():
    header = b"sample_coding -s3 pcm"
    data = encoded(tone(), format="NIST", subtype="PCM_16")
    assert header in data
    shortened = data.replace(header, b"sample_coding -s26 pcm,embedded-shorten-v2.00")
    with pytest.raises(AudioError, match="shorten"):
        decode_audio(shortened)


OF_KIND = {
    "WAV": WAV,
    "FLAC": encoded(tone(), format="FLAC"),
    "OGG": encoded(tone(), format="OGG"),
    "NIST": encoded(tone(), format="NIST"),
}


@pytest.mark.parametrize("wanted", OF_KIND)
def test_one_container_can_be_demanded(wanted):
    for kind, data in OF_KIND.items():
        if kind == wanted:
            assert len(decode_audio(data, container=wanted).samples) == RATE // 2
        else:
            with pytest.raises(AudioError, match=rf"not {wanted} but {kind} \("):
                decode_audio(data, container=wanted)
    with pytest.raises(AudioError, match=rf"not {wanted} \("):
        decode_audio(b"hello, this is text", container=wanted)


def test_mp3_is_refused_in_a_wav_file_too():
    mp3 = encoded(tone(), format="MP3")
    codec = struct.pack("<HHIIHHH", 0x55, 1, RATE, 4000, 1, 0, 12)
    codec += struct.pack("<HIHHH", 1, 2, 576, 1, 0)
    chunks = {b"fmt ": codec, b"fact": struct.pack("<I", len(tone())), b"data": mp3}
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks.items()
    )
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    assert len(soundfile.read(io.BytesIO(data))[0])  # libsndfile would
    with pytest.raises(AudioError, match="MP3"):
        decode_audio(data)


def test_limits_hold_to_the_sample_and_the_byte():
    exact = AudioLimits(max_seconds=0.5, max_bytes=len(WAV))
    assert len(decode_audio(WAV, limits=exact).samples) == RATE // 2
    with pytest.raises(AudioError, match="bytes"):
        decode_audio(WAV, limits=AudioLimits(max_bytes=len(WAV) - 1))
    with pytest.raises(AudioError, match="longer"):
        decode_audio(WAV, limits=AudioLimits(max_seconds=0.5 - 1 / RATE))
    with pytest.raises(AudioError, match="rate"):
        decode_audio(WAV, limits=AudioLimits(max_rate=RATE - 1))
    stereo = encoded(np.zeros((100, 2), "f4"), format="WAV")
    with pytest.raises(AudioError, match="channels"):
        decode_audio(stereo, limits=AudioLimits(max_channels=1))


@pytest.mark.parametrize("where", [4, 16, 40])
@pytest.mark.parametrize("length", [0, 1, 17, 31_999, 2**31 - 1, 2**31, 2**32 - 1])
def test_length_fields_do_not_invent_samples(where, length):
    """Of the whole file, its format and its samples: what comes is a beginning of what is there."""
    data = WAV[:where] + struct.pack("<I", length) + WAV[where + 4 :]
    for body in (data, data[: len(data) // 2], data[:-1]):
        try:
            samples = decode_audio(body).samples
        except AudioError:
            continue
        whole = decode_audio(WAV).samples
        assert len(samples) <= (len(body) - 44) // 2
        if where != 16:
            np.testing.assert_array_equal(samples, whole[: len(samples)])


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
@pytest.mark.parametrize("seconds", [0.29, 0.57, 1.001])
def test_the_longest_audio_is_exact_to_the_frame(rate, seconds):
    frames = math.floor(Fraction(str(seconds)) * rate)
    limits = AudioLimits(max_seconds=seconds)
    fits = encoded(np.zeros(frames, "f4"), rate, format="WAV")
    assert len(decode_audio(fits, limits=limits).samples) == frames
    with pytest.raises(AudioError, match="longer"):
        decode_audio(encoded(np.zeros(frames + 1, "f4"), rate, format="WAV"), limits=limits)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_audio_or_a_clear_error(data):
    body = bytearray(WAV[:3000])
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, 100))] = data.draw(st.integers(0, 255))
    try:
        waveform = decode_audio(bytes(body))
    except AudioError:
        return
    assert np.isfinite(waveform.samples).all()
    most = 5  # a byte, by the densest codec that a WAV header can name (GSM 6.10: 160 in 33)
    assert 0 < len(waveform.samples) <= most * len(body)


def test_files_are_read_probed_and_named_in_errors(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, Waveform(tone(), RATE))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    info = probe(path)
    assert (info.num_samples, info.sample_rate, info.channels) == (RATE // 2, RATE, 1)
    assert info.duration == 0.5
    np.testing.assert_allclose(read_audio(path).samples, tone(), atol=1e-4)
    bad = tmp_path / "b.wav"
    bad.write_text("no audio")
    for broken in (bad, tmp_path / "missing.wav", tmp_path):
        for read in (read_audio, probe):
            with pytest.raises(AudioError) as caught:
                read(broken)
            assert caught.value.where == str(broken)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "missing" / "a.wav"
    with pytest.raises(AudioError) as caught:
        write_wav(path, Waveform(tone(), RATE))
    assert caught.value.where == str(path)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_resampling_keeps_the_signal(rate):
    waveform = resample(Waveform(tone(1.0, rate), rate), RATE)
    assert waveform.sample_rate == RATE
    assert abs(len(waveform.samples) - RATE) <= 1
    middle = slice(4000, 12_000)
    np.testing.assert_allclose(waveform.samples[middle], tone(1.0)[middle], atol=2e-3)


def test_resampling_agrees_with_scipy():
    noise = np.random.default_rng(0).standard_normal(48_000)
    smooth = np.convolve(noise, np.ones(12) / 12, "same").astype("f4")
    mine = resample(Waveform(smooth, 48_000), RATE).samples
    theirs = resample_poly(smooth, 1, 3, window=("kaiser", 12.0))
    error = mine[500:-500] - theirs[500:-500]
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(theirs**2))


def test_the_same_rate_is_left_alone():
    waveform = Waveform(tone(), RATE)
    assert resample(waveform, RATE) is waveform


def test_timit_files_are_read(shared_data):
    files = sorted(shared_data("timit_sample").rglob("*.wav"))
    containers = {path: path.read_bytes()[:4] for path in files}
    assert set(containers.values()) == {b"RIFF", b"NIST"}  # all are called .wav
    sphere = [path for path in files if containers[path] == b"NIST"]
    for path in sphere + files[::16]:
        waveform = read_audio(path)
        assert waveform.sample_rate == RATE
        assert 0.5 < waveform.duration < 10
        assert len(waveform.samples) == probe(path).num_samples
