"""What is not read is called by its name, and what has a header is not taken for raw samples."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asr.audio import decode_audio, decode_pcm
from asr.types import AudioError

RATE = 16_000
ENCODINGS = ("LINEAR16", "FLOAT", "MULAW", "ALAW")


def encoded(container, coding=None, endian=None, seconds=0.5):
    buffer = io.BytesIO()
    samples = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)
    soundfile.write(buffer, samples, RATE, format=container, subtype=coding, endian=endian)
    return buffer.getvalue()


def adts(count):
    """AAC frames of 9 bytes."""
    return count * (b"\xff\xf1\x60\x40\x01\x3f\xfc" + bytes(2))


READ = {
    "WAV": encoded("WAV", "PCM_24"),
    "RIFX": encoded("WAV", "PCM_16", "BIG"),
    **{name: encoded(name) for name in ("RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC")},
    "little AU": encoded("AU", "PCM_16", "LITTLE"),
    "Vorbis": encoded("OGG", "VORBIS"),
    "Opus": encoded("OGG", "OPUS"),
    "FLAC behind a tag": b"ID3\4\0\0\0\0\0\0" + encoded("FLAC"),
}
UPLOADED = {  # what people upload, which test_uploads.py reads
    "MP3": encoded("MP3"),
    "MP3 behind a tag": b"ID3\4\0\0\0\0\0\0" + encoded("MP3"),
    "MP4": b"\0\0\0\x1cftypM4A \0\0\2\0isomiso2mp41" + bytes(500),
    "QuickTime": b"\0\0\2\0moov" + bytes(504),
    "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm",
    "AAC": adts(50),
}
NOT_READ = {
    "AMR": b"#!AMR\n" + bytes(506),
    "AVI": b"RIFF\0\2\0\0AVI LIST" + bytes(500),
    "WMA": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel" + bytes(500),
    "WavPack": b"wvpk" + bytes(508),
    "Monkey's Audio": b"MAC \x96\x0f\0\0" + bytes(504),
    "MIDI": b"MThd\0\0\0\6\0\1\0\2\0\x60" + bytes(500),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", [*READ, *UPLOADED, *NOT_READ])
def test_a_file_with_a_header_is_no_raw_audio(encoding, name):
    data = {**READ, **UPLOADED, **NOT_READ}[name]
    data = data[: len(data) // 4 * 4]
    with pytest.raises(AudioError, match=f"called raw {encoding}, and it is a file") as caught:
        decode_pcm(data, encoding=encoding, sample_rate=RATE)
    assert "leave the encoding out" in caught.value.remedy


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_read_is_called_by_its_name(name):
    with pytest.raises(AudioError) as caught:
        decode_audio(NOT_READ[name])
    assert f"kind {name}" in caught.value.what
    assert "convert it" in caught.value.remedy


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("seed", range(20))
def test_raw_samples_are_no_file(encoding, seed):
    """Noise, and all two bytes that an MPEG frame may begin with."""
    rng = np.random.default_rng(seed)
    kind = "<f4" if encoding == "FLOAT" else "i1"
    noise = rng.normal(0, 40, 4_000).astype(kind).tobytes()
    for start in (b"", b"\xff\xfb", b"\xff\xf1", bytes([0xFF, 0xE0 + rng.integers(32)])):
        data = (start + noise[2 * bool(start) :])[: 4 * 900]
        if encoding == "FLOAT" and start:
            continue
        assert len(decode_pcm(data, encoding=encoding, sample_rate=RATE).samples)
    for byte in (b"\0", b"\xff", b"\x7f", b"\xd5"):  # what silence may be
        if encoding != "FLOAT":
            decode_pcm(400 * byte, encoding=encoding, sample_rate=RATE)


def wav_of(tag, extensible=False):
    """A WAV file of the codec with that number."""
    code = struct.pack("<H", tag) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    fields = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, 1, 8_000, 4_000, 1, 4)
    fields += b"\x16\0\4\0\4\0\0\0" + code if extensible else b"\0\0"
    body = b"WAVEfmt " + struct.pack("<I", len(fields)) + fields
    body += b"data" + struct.pack("<I", 400) + bytes(400)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("tag", "name"),
    [
        *((0x45, "G.726"), (0x64, "G.726"), (0x83, "G.729"), (0x55, "MP3"), (0x161, "WMA")),
        *((0xFF, "AAC"), (0xA109, "Speex"), (0x1234, "codec 0x1234")),
    ],
)
def test_a_codec_that_is_not_read_is_called_by_its_name(tag, name, extensible):
    with pytest.raises(AudioError, match=f"WAV file holds {name}, which is not read"):
        decode_audio(wav_of(tag, extensible))


def test_codecs_of_other_containers_are_called_by_their_names():
    alac = encoded("CAF", "ALAC_16")
    with pytest.raises(AudioError, match="CAF file holds codec alac"):
        decode_audio(alac)
    aiff = encoded("AIFF", "ULAW").replace(b"ulaw", b"QDM2").replace(b"ULAW", b"QDM2")
    with pytest.raises(AudioError, match="AIFF file holds codec QDM2"):
        decode_audio(aiff)
    with pytest.raises(AudioError, match="AU file holds encoding 23"):
        decode_audio(encoded("AU", "G721_32"))


@pytest.mark.parametrize(
    ("mark", "name"), [(b"Speex   ", "Speex"), (b"\x80theora", "Theora"), (b"other", "unknown")]
)
def test_codecs_in_ogg_are_called_by_their_names(mark, name, rubbish):
    with pytest.raises(AudioError, match=f"Ogg stream holds .*{name}.*, which is not read"):
        decode_audio(rubbish.ogg_page(mark + bytes(72), flags=2 | 4))


def test_two_streams_at_once_are_not_mixed_up(rubbish):
    vorbis = encoded("OGG", "VORBIS")
    first = vorbis[: vorbis.index(b"OggS", 4)]
    other = bytearray(first)
    other[14:18] = b"abcd"
    with pytest.raises(AudioError, match="2 streams of audio at once"):
        decode_audio(first + rubbish.sealed(other) + vorbis[len(first) :])


def test_a_stream_of_pictures_beside_the_audio_is_passed_over(rubbish):
    vorbis = encoded("OGG", "VORBIS")
    end = vorbis.index(b"OggS", 4)
    beside = [
        rubbish.ogg_page(b"\x80theora" + bytes(40), flags=2, serial=7),
        rubbish.ogg_page(bytes(99), flags=4, serial=7, number=1),
    ]
    mixed = vorbis[:end] + beside[0] + vorbis[end:] + beside[1]
    np.testing.assert_array_equal(decode_audio(mixed).samples, decode_audio(vorbis).samples)
