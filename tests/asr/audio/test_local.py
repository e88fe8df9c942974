"""Files of one's own: any part of them is that part of the whole, in any coding."""

import io
import os

import numpy as np
import pytest
import soundfile

from asr.audio import AudioLimits, check_file, probe_file, read_file
from asr.types import AudioError, MissingPackageError

RATE = 16_000
SECONDS = 10
LIMITS = AudioLimits(max_expansion=1e9)
SPANS = [(0.0, 0.5), (0.1, 1.0), (3.0, 0.01), (6.345, 2.2), (9.5, 0.5), (9.5, 2.0)]


def sound(channels=1):
    """A tone whose pitch tells the time, in some noise."""
    t = np.arange(SECONDS * RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * (200 * t + 20 * t**2))
    noise = 0.02 * np.random.default_rng(0).standard_normal((len(t), channels))
    return (tone[:, None] + noise).astype("f4")


CODINGS = {
    "wav": ("WAV", "PCM_16"),
    "mulaw.wav": ("WAV", "ULAW"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "gsm.wav": ("WAV", "GSM610"),  # which cannot be entered in its midst
    "flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "sph": ("NIST", "PCM_16"),
}


@pytest.mark.parametrize("name", CODINGS)
def test_a_span_is_that_part_of_the_whole(tmp_path, name, capfd):
    form, coding = CODINGS[name]
    path = tmp_path / name
    samples = sound(1 if "gsm" in name else 2)
    soundfile.write(path, samples, RATE, format=form, subtype=coding)
    for channel in (None, 0):
        whole = read_file(path, limits=LIMITS, channel=channel).samples
        for start, duration in SPANS:
            part = read_file(path, start, duration, limits=LIMITS, channel=channel).samples
            first = round(start * RATE)
            expected = whole[first : first + round(duration * RATE)]
            assert len(part) == len(expected)
            np.testing.assert_allclose(part, expected, atol=1e-6)
    assert len(read_file(path, 60.0, 1.0, limits=LIMITS).samples) == 0
    assert capfd.readouterr().err == ""  # decoders of C complain there


@pytest.mark.parametrize("name", ["mp3", "flac", "opus"])
def test_a_recording_is_measured_to_its_end(tmp_path, name):
    path = tmp_path / name
    form, coding = CODINGS[name]
    soundfile.write(path, sound(2), RATE, format=form, subtype=coding)
    info = check_file(path, limits=LIMITS)
    assert (info.num_samples, info.sample_rate, info.channels) == (SECONDS * RATE, RATE, 2)
    assert probe_file(path) == info
    assert len(read_file(path, limits=LIMITS).samples) == SECONDS * RATE


def test_what_stands_before_a_span_is_not_decoded(tmp_path):
    """Damage there is no matter, as it would be to who reads all."""
    path = tmp_path / "long.flac"
    soundfile.write(path, sound(), RATE)
    whole = read_file(path, limits=LIMITS).samples
    data = bytearray(path.read_bytes())
    data[len(data) // 10 : len(data) // 5] = bytes(len(data) // 5 - len(data) // 10)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="damaged"):
        read_file(path, limits=LIMITS)
    part = read_file(path, 8.0, 2.0, limits=LIMITS).samples
    np.testing.assert_array_equal(part, whole[8 * RATE : 10 * RATE])


def test_joined_recordings_are_one_for_spans_too(tmp_path):
    path = tmp_path / "joined.ogg"
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(), RATE, format="OGG", subtype="VORBIS")
    path.write_bytes(buffer.getvalue() * 2)
    whole = read_file(path, limits=LIMITS).samples
    part = read_file(path, SECONDS - 0.5, 1.0, limits=LIMITS).samples
    np.testing.assert_array_equal(part, whole[round((SECONDS - 0.5) * RATE) :][:RATE])


@pytest.mark.parametrize(
    "data", [b"", b"hello, this is text" * 9, b"ID3\4\0\0\0\0\0\0" + bytes(99)]
)
@pytest.mark.parametrize("read", [read_file, check_file])
def test_what_is_no_recording_is_named(tmp_path, data, read):
    path = tmp_path / "x.mp3"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"x\.mp3"):
        read(path, limits=LIMITS)
    with pytest.raises(AudioError, match=r"gone\.mp3"):
        read(tmp_path / "gone.mp3", limits=LIMITS)


# FFmpeg's

FOREIGN = {"m4a": "aac", "webm": "libopus", "mka": "flac", "aac": "aac"}


def encode(path, codec, samples):
    """A file of FFmpeg's own making."""
    av = pytest.importorskip("av", reason="the extra `formats` is not installed")
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="mono")
        frame.rate = RATE
        frame.pts = 0
        resampler = av.AudioResampler(stream.format.name, "mono", 48_000, stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))


@pytest.mark.parametrize("name", FOREIGN)
def test_what_only_ffmpeg_reads_is_read(tmp_path, name):
    path = tmp_path / f"speech.{name}"
    encode(path, FOREIGN[name], sound())
    info = check_file(path, limits=LIMITS)
    assert (info.sample_rate, info.channels) == (48_000, 1)
    assert info.duration == pytest.approx(SECONDS, abs=0.1)
    assert probe_file(path).duration == pytest.approx(SECONDS, abs=2.0 if name == "aac" else 0.1)
    whole = read_file(path, limits=LIMITS).samples
    assert len(whole) == info.num_samples
    for start, duration in SPANS[:-1]:
        part = read_file(path, start, duration, limits=LIMITS).samples
        assert len(part) == round(duration * 48_000)
        assert difference(part, whole, round(start * 48_000)) < 0.05


def difference(part, whole, place):
    """Of noise to signal, where ``part`` fits best: Matroska's clock ticks in milliseconds."""
    shifted = (whole[max(place + shift, 0) :][: len(part)] for shift in range(-24, 25))
    return min(np.std(part[: len(other)] - other) / np.std(other) for other in shifted)


@pytest.mark.parametrize("name", ["m4a", "webm"])
def test_a_file_of_ffmpegs_that_is_cut_short_is_named(tmp_path, name):
    path = tmp_path / f"speech.{name}"
    encode(path, FOREIGN[name], sound())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=rf"speech\.{name}"):
        check_file(path, limits=LIMITS)


def test_the_remedy_where_ffmpeg_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "speech.m4a"
    path.write_bytes(b"\0\0\0\x10ftypM4A " + bytes(4) + b"\0\0\0\x08moov")

    def none(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("asr.extras.import_module", none)
    with pytest.raises(MissingPackageError, match=r"pip install 'peephole-asr\[formats\]'"):
        check_file(path, limits=LIMITS)
