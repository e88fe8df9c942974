"""All of a recording is read, or an error says how much of it is missing."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import AudioLimits, decode_audio, probe, read_audio, write_wav
from asr.types import AudioError, Waveform

RATE = 16_000
BY_FFMPEG = Path(__file__).with_name("ffmpeg")


def tone(seconds=0.5, rate=RATE, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def encoded(samples, rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **options)
    return buffer.getvalue()


KINDS = {  # container, coding, byte order
    "WAV": ("WAV", "PCM_16", "FILE"),
    "WAV, large end first": ("WAV", "PCM_16", "BIG"),
    "WAV, 24 bits": ("WAVEX", "PCM_24", "FILE"),
    "WAV, mu-law": ("WAV", "ULAW", "FILE"),
    "RF64": ("RF64", "PCM_16", "FILE"),
    "W64": ("W64", "PCM_16", "FILE"),
    "AIFF": ("AIFF", "PCM_16", "FILE"),
    "AIFF, floats": ("AIFF", "FLOAT", "FILE"),
    "AU": ("AU", "PCM_16", "FILE"),
    "AU, small end first": ("AU", "FLOAT", "LITTLE"),
    "CAF": ("CAF", "PCM_16", "FILE"),
    "CAF, A-law": ("CAF", "ALAW", "FILE"),
    "NIST": ("NIST", "PCM_16", "FILE"),
    "FLAC": ("FLAC", "PCM_16", "FILE"),
    "Vorbis": ("OGG", "VORBIS", "FILE"),
    "Opus": ("OGG", "OPUS", "FILE"),
}
LOSSY = ("Vorbis", "Opus")


def of_kind(kind, samples, rate=RATE):
    container, coding, endian = KINDS[kind]
    return encoded(samples, rate, format=container, subtype=coding, endian=endian)


def by_libsndfile(data):
    """What libsndfile makes of one whole recording."""
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


@pytest.fixture
def read(tmp_path):
    """``read(data)``: the samples from bytes and from a file, which are the same, and its probe."""

    def both(data):
        path = tmp_path / "a"
        path.write_bytes(data)
        samples = decode_audio(data).samples
        np.testing.assert_array_equal(read_audio(path).samples, samples)
        assert probe(path).num_samples == len(samples)
        return samples

    return both


@pytest.fixture
def refusal(tmp_path):
    """``refusal(data)``: what is said of it, alike for bytes, for a file and for its length."""

    def of(data):
        path = tmp_path / "a"
        path.write_bytes(data)
        said = set()
        for use in (lambda: decode_audio(data), lambda: read_audio(path), lambda: probe(path)):
            with pytest.raises(AudioError) as caught:
                use()
            assert caught.value.remedy
            said.add(caught.value.what)
        [what] = said
        return what

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_what_libsndfile_gives(kind, read):
    data = of_kind(kind, tone())
    np.testing.assert_array_equal(read(data), by_libsndfile(data))


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_in_a_row_are_all_read(kind, read):
    """As ``cat`` joins them, or a pause in a stream."""
    pieces = [of_kind(kind, tone(seconds)) for seconds in (2.09, 0.97, 0.2)]
    expected = np.concatenate([by_libsndfile(piece) for piece in pieces])
    np.testing.assert_array_equal(read(b"".join(pieces)), expected)


def test_recordings_of_different_kinds_become_one_at_the_rate_of_the_first(read):
    pieces = [
        of_kind("WAV", tone(0.5)),
        of_kind("Opus", np.stack([tone(0.5, 48_000)] * 2, axis=1), 48_000),
        of_kind("FLAC", tone(0.5, 8_000), 8_000),
    ]
    samples = read(b"".join(pieces))
    assert len(samples) == 1.5 * RATE
    for start in (2_000, 10_000, 18_000):
        part = samples[start : start + 4_000]
        assert abs(np.abs(np.fft.rfft(part * np.hanning(4_000))).argmax() * RATE / 4_000 - 440) < 5


def test_joined_recordings_share_one_limit():
    piece = of_kind("Opus", tone(0.5))
    assert len(decode_audio(2 * piece, limits=AudioLimits(max_seconds=1.0)).samples) == RATE
    for joined in (3 * piece, 2 * piece + of_kind("WAV", tone(0.1))):
        with pytest.raises(AudioError, match="longer than 1 s"):
            decode_audio(joined, limits=AudioLimits(max_seconds=1.0))
    with pytest.raises(AudioError, match="decodes to more"):
        decode_audio(2 * piece, limits=AudioLimits(max_decoded_bytes=50_000))
    with pytest.raises(AudioError, match="more than 1000 recordings"):
        decode_audio(1_001 * encoded(tone(0.01), format="AU"))


COUNTED = [kind for kind in KINDS if kind not in ("FLAC", *LOSSY)]  # their headers count bytes


@pytest.mark.parametrize("kind", COUNTED)
def test_a_recording_cut_short_says_how_much_is_missing(kind, refusal):
    data, half = (of_kind(kind, tone(seconds)) for seconds in (1.0, 0.5))
    missing = (len(data) - len(half)) * 3 // 2  # three quarters of a second
    assert refusal(data[:-missing]) == "the audio is cut short: 0.75 of its 1.00 s are missing"
    assert refusal(data[:-1]).endswith("are missing")


def test_a_flac_file_cut_short_says_how_far_it_goes():
    data = of_kind("FLAC", tone(2.0))
    for cut in (data[: len(data) // 2], data[:-1], data[:-1] + b"\0"):
        with pytest.raises(AudioError, match=r"cut short after [01]\.\d\d of 2\.00 s"):
            decode_audio(cut)


def pages_of(data):
    """The Ogg pages of ``data``."""
    return [b"OggS" + page for page in data.split(b"OggS")[1:]]


@pytest.mark.parametrize("kind", LOSSY)
def test_an_ogg_file_cut_short_says_how_far_it_goes(kind, refusal):
    data = of_kind(kind, tone(8.0) + 0.1 * np.random.default_rng(0).standard_normal(8 * RATE))
    pages = pages_of(data)
    assert len(pages) > 5
    assert "cut after" in refusal(data[: len(data) // 2])
    assert "cut after" in refusal(data[: data.rindex(b"OggS") + 20])
    assert "breaks off after" in refusal(b"".join(pages[:-1]))
    assert "1 of its pages are missing" in refusal(b"".join(pages[:3] + pages[4:]))
    assert "beginning" in refusal(b"".join(pages[1:]))
    # The end of one link is missing, and another follows.
    assert "breaks off after" in refusal(b"".join(pages[:-1]) + data)


@pytest.mark.parametrize("kind", LOSSY)
def test_a_damaged_page_is_not_passed_over(kind, refusal):
    data = bytearray(of_kind(kind, tone(8.0)))
    data[len(data) * 2 // 3] ^= 1
    assert "damaged or cut after" in refusal(bytes(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rest", [b"\0", bytes(9_999), b"LIST\4\0\0\0abcd", b"TAG" + bytes(125), b"O" * 30]
)
def test_bytes_behind_a_recording_do_no_harm(kind, rest, read):
    data = of_kind(kind, tone())
    np.testing.assert_array_equal(read(data + rest), read(data))


# Headers that leave their sizes open


@pytest.mark.parametrize("name", sorted(path.name for path in BY_FFMPEG.glob("*.*[!y]")))
def test_what_ffmpeg_writes_to_a_pipe_is_read_whole(name, read):
    expected = np.rint(8_000 * np.sin(2 * np.pi * 440 * np.arange(800) / 8_000) - 0.5) / 32_768
    samples = read((BY_FFMPEG / name).read_bytes())
    np.testing.assert_allclose(samples, expected, atol=1.5 / 32_768)


OPEN = (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF)


@pytest.mark.parametrize("sizes", OPEN)
@pytest.mark.parametrize("kind", ["WAV", "WAV, large end first", "WAV, 24 bits", "WAV, mu-law"])
def test_a_wav_header_from_a_pipe_is_completed(kind, sizes, read):
    """Zeros, or what sox, arecord, espeak-ng and ffmpeg leave there."""
    data = bytearray(of_kind(kind, tone()))
    order = ">" if "large" in kind else "<"
    place = data.index(b"data")
    data[4:8] = data[place + 4 : place + 8] = struct.pack(order + "I", sizes)
    np.testing.assert_array_equal(read(bytes(data)), by_libsndfile(of_kind(kind, tone())))


def test_a_header_that_was_written_before_the_recording_is_completed(read):
    """A recorder that crashed: the header is that of an empty file, whole in itself."""
    data = of_kind("WAV", tone())
    head = of_kind("WAV", tone(0.0))
    assert data[44:] == data[len(head) :]
    np.testing.assert_array_equal(read(head + data[44:]), by_libsndfile(data))


def test_an_empty_recording_is_called_so():
    for kind in ("WAV", "AIFF", "AU", "CAF", "W64", "RF64", "Vorbis"):
        with pytest.raises(AudioError, match="no samples"):
            decode_audio(of_kind(kind, tone(0.0)))


def test_bw64_is_rf64(read):
    data = of_kind("RF64", tone())
    np.testing.assert_array_equal(read(b"BW64" + data[4:]), by_libsndfile(data))


@pytest.mark.parametrize("footer", [False, True])
def test_flac_is_found_behind_a_tag(footer, read):
    tag = b"ID3\4\0" + bytes([0x10 * footer]) + b"\0\0\1\x02" + bytes(130 + 10 * footer)
    data = of_kind("FLAC", tone())
    np.testing.assert_array_equal(read(2 * tag + data), by_libsndfile(data))


@pytest.mark.parametrize("seconds", [0.1, 3.0, 5.0])
def test_flac_of_unknown_length_is_counted(seconds, read, rubbish):
    data = of_kind("FLAC", tone(seconds))
    endless = rubbish.flac_claiming(data, frames=0)
    np.testing.assert_array_equal(read(endless), by_libsndfile(data))
    np.testing.assert_array_equal(read(endless + b"TAG" + bytes(125)), by_libsndfile(data))
    np.testing.assert_array_equal(read(2 * endless), np.tile(by_libsndfile(data), 2))


def test_samples_that_begin_in_their_own_header_are_refused():
    """Its sizes, left open, would be completed in bytes that are samples."""
    au = bytearray(of_kind("AU", tone()))
    au[4:12] = struct.pack(">II", 4, 0xFFFFFFFF)
    rf64 = of_kind("RF64", tone())
    rf64 = rf64[:16] + bytes(4) + rf64[20:36] + rf64[rf64.index(b"fmt ") :]
    bare = b"RF64\xff\xff\xff\xffWAVEds64\0\0\0\0data\xff\xff\xff\xff" + bytes(500)
    for data in (bytes(au), rf64, bare):
        with pytest.raises(AudioError):
            decode_audio(data)


def test_files_that_are_not_there_are_named(tmp_path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    for path in (empty, tmp_path, tmp_path / "missing.wav"):
        for use in (probe, read_audio):
            with pytest.raises(AudioError) as caught:
                use(path)
            assert caught.value.where == str(path)


def test_reading_does_not_hold_a_file(tmp_path):
    path = tmp_path / "a.wav"
    for seconds in (0.5, 0.25):
        write_wav(path, Waveform(tone(seconds), RATE))
        assert probe(path).duration == seconds
    path.write_bytes(b"")
