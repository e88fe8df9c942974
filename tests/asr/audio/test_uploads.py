"""MP3, MP4, WebM and AAC: what was said is heard, at its place, and nothing else is believed."""

import contextlib
import io
import struct
import time

import numpy as np
import pytest
import soundfile

from asr.audio import (
    OWN_RECORDINGS,
    AudioLimits,
    Recording,
    decode_audio,
    probe_file,
    read_file,
)
from asr.types import AudioError, MissingPackageError

av = pytest.importorskip("av", reason="the extra `formats` is not installed")
RATE = 48_000
SECONDS = 2.5
KINDS = (
    *("M4A AAC", "M4A ALAC", "MP4 in pieces", "MP4 Opus", "QuickTime PCM", "WebM Opus"),
    *("WebM as a browser records", "Matroska FLAC", "AAC", "MP3 of LAME", "MP3 without a count"),
)
DELAYS = {"AAC": 1024, "MP4 in pieces": 1024, "MP3 without a count": 576}  # no header tells it
OPEN = {"MP4 in pieces", "WebM as a browser records", "AAC", "MP3 without a count"}


@pytest.fixture(scope="module")
def sound():
    """Tones that come and go, so that it fits itself at one place only."""
    t = np.arange(int(SECONDS * RATE)) / RATE
    tones = [np.sin(2 * np.pi * f * t * (1 + 0.1 * t)) for f in (150, 310, 700, 1900)]
    return (0.1 * np.sum(tones, axis=0) * np.sin(2 * np.pi * 3 * t) ** 2).astype(np.float32)


@pytest.fixture(scope="module")
def files(rubbish, sound):
    assert set(KINDS) == set(rubbish.FOREIGN)
    return {kind: rubbish.foreign(sound, RATE, kind) for kind in KINDS}


def delay_and_snr(found, expected):
    """The frames by which ``found`` is late, and the decibels by which it is right then."""
    middle = slice(6_000, 60_000)
    fits = [np.dot(found[6_000 + d : 60_000 + d], expected[middle]) for d in range(-3000, 3000)]
    delay = int(np.argmax(fits)) - 3000
    error = found[6_000 + delay : 60_000 + delay] - expected[middle]
    return delay, 10 * np.log10(np.var(expected[middle]) / max(np.var(error), 1e-20))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_said_is_heard_at_its_place(kind, files, sound):
    """To the sample, as the encoder was given it, where the file tells what the encoder added."""
    waveform = decode_audio(files[kind])
    assert waveform.sample_rate == RATE
    delay, snr = delay_and_snr(waveform.samples, sound)
    assert delay == DELAYS.get(kind, 0)
    assert snr > (75 if kind.split()[-1] in ("ALAC", "PCM", "FLAC") else 20)
    surplus = len(waveform.samples) - len(sound)
    assert 0 <= surplus < 3_000 if kind in OPEN else surplus == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_short_is_refused(kind, files, sound):
    data = files[kind]
    rng = np.random.default_rng(0)
    for end in [*rng.integers(1, len(data), 25), len(data) - 1]:
        try:
            waveform = decode_audio(data[:end])
        except AudioError:
            continue
        # Where nothing says how much there is, what is cut between two frames is whole.
        assert kind in OPEN
        assert len(waveform.samples) < len(sound) + 3_000


@pytest.mark.parametrize("kind", KINDS)
def test_two_in_a_row_are_twice_as_long(kind, files):
    once = len(decode_audio(files[kind]).samples)
    twice = len(decode_audio(2 * files[kind]).samples)
    assert abs(twice - 2 * once) <= (600 if kind == "MP3 without a count" else 0)


def test_mp3_whose_bit_rate_varies_is_read_to_its_end(sound):
    """libsndfile guesses its length from the first frame."""
    target = io.BytesIO()
    quiet_then_loud = np.concatenate([np.zeros_like(sound), sound, np.zeros_like(sound), sound])
    soundfile.write(
        target, quiet_then_loud, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3
    )
    data = target.getvalue()
    without_count = data[decode_first_frame(data) :]
    assert abs(len(decode_audio(without_count).samples) - len(quiet_then_loud)) < 3_000
    assert len(decode_audio(data).samples) == len(quiet_then_loud)


def decode_first_frame(data):
    """Bytes of the first frame, which has no sound but the Xing header."""
    assert b"Xing" in data[:60]
    return data.index(data[:2], 2)


@pytest.mark.parametrize("kind", ["MP3 of LAME", "MP3 without a count", "AAC"])
def test_tags_are_passed_over_and_damage_is_not(kind, files, capfd):
    data = files[kind]
    whole = decode_audio(data).samples
    id3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0) + bytes(8) + bytes(40)
    for tagged in (id3 + data, data + b"TAG" + bytes(125), data + ape + b"TAG" + bytes(125)):
        np.testing.assert_array_equal(decode_audio(tagged).samples, whole)
    middle = len(data) // 2
    with pytest.raises(AudioError, match=r"damaged after 1\.|cut short"):
        decode_audio(data[:middle] + bytes(5_000) + data[middle:])
    assert capfd.readouterr().err == ""  # decoders of C complain there


def container_with(codec, form, sound, *, is_film=False):
    """Sound of any codec, perhaps beside pictures."""
    target = io.BytesIO()
    with av.open(target, "w", format=form) as container:
        if is_film:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 32
        stream = codec and container.add_stream(codec, rate=RATE, layout="mono")
        if is_film:
            for _ in range(25):
                image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
                container.mux(pictures.encode(image))
            container.mux(pictures.encode(None))
        if codec:
            frame = av.AudioFrame.from_ndarray(sound[None].copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            cut = av.AudioResampler(stream.format.name, "mono", RATE, stream.frame_size or 1024)
            for part in [*cut.resample(frame), *cut.resample(None), None]:
                container.mux(stream.encode(part))
    return target.getvalue()


@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_a_films_sound_is_heard(form, sound):
    waveform = decode_audio(container_with("aac", form, sound, is_film=True))
    delay, snr = delay_and_snr(waveform.samples, sound)
    assert delay == 0
    assert snr > 20
    with pytest.raises(AudioError, match="no sound"):
        decode_audio(container_with(None, form, sound, is_film=True))


def test_other_codecs_are_for_ones_own_files_alone(tmp_path, sound):
    data = container_with("tta", "matroska", sound)
    with pytest.raises(AudioError, match="holds tta, which is not read"):
        decode_audio(data)
    path = tmp_path / "own.mkv"
    path.write_bytes(data)
    assert len(read_file(path, limits=OWN_RECORDINGS).samples) >= len(sound)
    assert len(Recording(path, OWN_RECORDINGS).read().samples) >= len(sound)


def test_a_recording_is_as_long_as_its_samples_and_not_as_its_header_says(tmp_path, files, sound):
    for kind in ("M4A AAC", "WebM Opus", "WebM as a browser records"):
        path = tmp_path / kind
        path.write_bytes(files[kind])
        recording = Recording(path, OWN_RECORDINGS)
        assert recording.info.duration == pytest.approx(SECONDS, abs=0.05)
        blocks = np.concatenate(list(recording.blocks(RATE)))
        np.testing.assert_array_equal(blocks, recording.read().samples)
        assert recording.info.num_samples == len(blocks)


def test_limits_hold_to_the_frame(files, sound):
    exact = AudioLimits(max_seconds=SECONDS)
    beyond = AudioLimits(max_seconds=SECONDS - 1 / RATE)
    for kind in set(KINDS) - OPEN:
        assert len(decode_audio(files[kind], limits=exact).samples) == len(sound)
        with pytest.raises(AudioError, match="longer than"):
            decode_audio(files[kind], limits=beyond)


def test_silence_that_expands_is_refused(rubbish):
    silence = np.zeros(200 * RATE, np.float32)
    with pytest.raises(AudioError, match="more than 100 times"):
        decode_audio(rubbish.foreign(silence, RATE, "Matroska FLAC"))


def claiming(data, box, offset, *values):
    """An MP4 file with other numbers in a table."""
    place = data.index(box) + 4 + offset
    packed = struct.pack(f">{len(values)}I", *values)
    return data[:place] + packed + data[place + len(packed) :]


@pytest.mark.timed
def test_tables_longer_than_a_file_can_have_are_refused_at_once(files):
    aac, pieces, pcm = files["M4A AAC"], files["MP4 in pieces"], files["QuickTime PCM"]
    lies = [
        claiming(aac, b"stsz", 4, 1, 2**30),
        claiming(aac, b"stsz", 4, 0, 2**32 - 1),
        claiming(pieces, b"trun", 4, 2**28),
        claiming(pcm, b"stsz", 8, 2**30),
        claiming(pcm, b"stsc", 12, 2**30),
        claiming(aac, b"elst", 4, 2**24),
        claiming(files["M4A ALAC"], b"alac\0\0\0\0\0\0\x10\0", 4, 2**26),
    ]
    for number, lie in enumerate(lies):
        begun = time.perf_counter()
        with pytest.raises(AudioError) as caught:
            decode_audio(lie)
        assert caught.value.remedy, number
        assert time.perf_counter() - begun < 0.1, number


def test_a_container_that_is_asked_for_is_the_only_one_taken(files):
    for kind, name in [("M4A AAC", "MP4"), ("WebM Opus", "WebM"), ("AAC", "AAC")]:
        assert len(decode_audio(files[kind], container=name).samples)
        with pytest.raises(AudioError, match=f"not MP3 but {name}"):
            decode_audio(files[kind], container="MP3")


def test_the_remedy_where_ffmpeg_is_missing(files, monkeypatch):
    def none(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("asr.extras.import_module", none)
    for kind in ("M4A AAC", "WebM Opus", "AAC"):
        with pytest.raises(MissingPackageError, match=r"pip install 'peephole-asr\[formats\]'"):
            decode_audio(files[kind])
    assert len(decode_audio(files["MP3 of LAME"]).samples)  # libsndfile's


def test_every_mutant_is_audio_or_refused(rubbish, capfd):
    for _, data in rubbish.mutants(700, seed=5):
        with contextlib.suppress(AudioError):
            decode_audio(data)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("read", [probe_file, lambda path: read_file(path, limits=AudioLimits())])
def test_a_stream_that_decodes_to_nothing_has_no_samples(tmp_path, read):
    """Frames of AAC that hold a header alone."""
    path = tmp_path / "a.aac"
    path.write_bytes(bytes.fromhex("fff1604000fffc") * 4)
    with pytest.raises(AudioError):
        read(path)
