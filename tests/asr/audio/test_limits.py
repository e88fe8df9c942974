"""Compressed audio that grows: how much is accepted, and that refusing it is cheap."""

import contextlib
import math
import struct
import time

import pytest

from asr.audio import AudioLimits, decode_audio
from asr.audio.limits import EXPANSION_FLOOR
from asr.audio.links import links_of
from asr.types import AudioError

pytestmark = pytest.mark.timed

FLOOR_FRAMES = EXPANSION_FLOOR // 4
PATIENT = AudioLimits(max_seconds=1e6)


@pytest.fixture(scope="module")
def flac(rubbish):
    """Silence that decodes to the floor to the byte, a thousand times its bytes."""
    return rubbish.silence(FLOOR_FRAMES / 16_000, 16_000, 1, "FLAC", "PCM_16")


def test_silence_may_shrink_as_it_likes_up_to_the_floor(flac):
    assert len(flac) * 1000 < EXPANSION_FLOOR
    assert len(decode_audio(flac, limits=PATIENT).samples) == FLOOR_FRAMES


def test_beyond_the_floor_a_hundredfold_is_too_much(flac, rubbish):
    claiming_more = rubbish.flac_claiming(flac, frames=FLOOR_FRAMES + 1)
    with pytest.raises(AudioError, match="more than 100 times"):
        decode_audio(claiming_more, limits=PATIENT)
    # The header is believed or the end is missed: either way no samples come.
    patience = AudioLimits(max_seconds=1e6, max_expansion=1e6)
    with pytest.raises(AudioError, match=f"1 of its {FLOOR_FRAMES + 1} samples are missing"):
        decode_audio(claiming_more, limits=patience)


def test_what_expands_little_may_be_longer_than_the_floor(rubbish):
    seconds = 2 * FLOOR_FRAMES / 16_000
    data = rubbish.silence(seconds, 16_000, 1, "WAV", "PCM_16")
    assert len(decode_audio(data, limits=PATIENT).samples) == 2 * FLOOR_FRAMES


def test_many_channels_at_an_impossible_rate_are_refused_by_bytes(rubbish):
    """Ten minutes of eight channels at 655,350 Hz would be 12.6 GB, and are within the seconds."""
    data = rubbish.silence(1.0, 48_000, 8, "FLAC", "PCM_16")
    data = rubbish.flac_claiming(data, rate=655_350, frames=600 * 655_350)
    with pytest.raises(AudioError, match="655350 Hz"):
        decode_audio(data)
    with pytest.raises(AudioError, match="expands to more than"):
        decode_audio(data, limits=AudioLimits(max_rate=10**6))
    with pytest.raises(AudioError, match="decodes to more than"):
        decode_audio(data, limits=AudioLimits(max_rate=10**6, max_expansion=math.inf))


def test_claims_are_refused_before_samples_are_read(flac, rubbish):
    """A thousandth of the time that reading would take."""

    def seconds(data, limits):
        start = time.perf_counter()
        with contextlib.suppress(AudioError):
            decode_audio(data, limits=limits)
        return time.perf_counter() - start

    refused = [
        (rubbish.flac_claiming(flac, rate=3_999), PATIENT),
        (rubbish.flac_claiming(flac, frames=2**36 - 1), AudioLimits(max_seconds=1e9)),
        (flac, AudioLimits(max_seconds=500)),
        (flac, AudioLimits(max_decoded_bytes=EXPANSION_FLOOR - 1)),
    ]
    reading = seconds(flac, PATIENT)
    for data, limits in refused:
        with pytest.raises(AudioError):
            decode_audio(data, limits=limits)
        assert min(seconds(data, limits) for _ in range(5)) < reading / 30


def test_limits_hold_where_the_header_does_not_say_how_long(flac, rubbish):
    """To the frame, and no matter what else it says."""
    endless = rubbish.flac_claiming(flac, frames=0)
    assert len(decode_audio(endless, limits=PATIENT).samples) == FLOOR_FRAMES
    seconds = FLOOR_FRAMES / 16_000
    exact = AudioLimits(max_seconds=seconds, max_decoded_bytes=EXPANSION_FLOOR)
    assert len(decode_audio(endless, limits=exact).samples) == FLOOR_FRAMES
    for limits, words in [
        (AudioLimits(max_seconds=seconds - 1 / 16_000), "longer than"),
        (AudioLimits(max_seconds=1e6, max_decoded_bytes=EXPANSION_FLOOR - 1), "decodes to more"),
    ]:
        with pytest.raises(AudioError, match=words):
            decode_audio(endless, limits=limits)
    more = rubbish.silence(FLOOR_FRAMES / 16_000 + 1, 16_000, 1, "FLAC", "PCM_16")
    with pytest.raises(AudioError, match="more than 100 times"):
        decode_audio(rubbish.flac_claiming(more, frames=0), limits=PATIENT)


def test_invalid_payloads_are_refused_with_a_remedy(rubbish):
    for name, payload in rubbish.invalid_payloads(700):
        with pytest.raises(AudioError) as caught:  # noqa: PT012
            decode_audio(payload)
            pytest.fail(name)
        assert caught.value.remedy, name


def test_many_beginnings_are_found_in_one_pass():
    """Each of a thousand joined files would be looked for to the end of all bytes."""
    joined = (b"fLaC\0\0\0\x22" + b"\x11" * 40) * 900
    begun = time.perf_counter()
    assert len(links_of(joined + b"\x55" * (16 * 2**20))) == 900
    assert time.perf_counter() - begun < 1.0


def test_boxes_in_boxes_are_refused():
    nested = b""
    for _ in range(1_500):
        nested = struct.pack(">I4s", 8 + len(nested), b"moov") + nested
    with pytest.raises(AudioError, match="deep in each other") as caught:
        links_of(struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0" + nested)
    assert caught.value.remedy


@pytest.mark.parametrize("flags", [1, 2, 3, 15])
def test_a_count_that_a_frame_has_no_room_for_is_none(flags):
    head = b"\xff\xf3\x14\xc0"  # 24 bytes a frame
    first = (head + bytes(9) + b"Xing" + struct.pack(">I", flags)).ljust(24, b"\0")
    [link] = links_of(first + (head + bytes(20)) * 5)
    found = b"".join(map(bytes, link.parts))
    assert found.endswith((head + bytes(20)) * 5)
    assert struct.unpack(">II", found[found.index(b"Xing") + 4 :][:8]) == (1, 5)
