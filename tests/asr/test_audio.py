"""Audio in its containers, and rubbish in theirs."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from asr.audio import (
    AudioLimits,
    decode_audio,
    decode_pcm,
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


def test_channels_are_averaged_or_chosen():
    left, right = tone(), tone(hertz=700.0)
    data = encoded(np.stack([left, right], axis=1), format="WAV", subtype="FLOAT")
    np.testing.assert_allclose(decode_audio(data).samples, (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(decode_audio(data, channel=1).samples, right, atol=1e-6)
    with pytest.raises(AudioError, match="channel 2"):
        decode_audio(data, channel=2)


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


@pytest.mark.parametrize("value", [1e30, -3e38])
def test_a_sample_of_absurd_size_is_named(value):
    samples = np.zeros((200, 2), "f4")
    samples[123] = value
    with pytest.raises(AudioError, match="sample 123 is far outside"):
        decode_pcm(samples.tobytes(), encoding="FLOAT", sample_rate=RATE, channels=2)


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


def test_compressed_silence_stops_at_the_limit():
    silence = encoded(np.zeros(60 * RATE, "f4"), format="FLAC")
    assert len(silence) < 60 * RATE // 20
    with pytest.raises(AudioError, match="longer than 10 s"):
        decode_audio(silence, limits=AudioLimits(max_seconds=10))


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
