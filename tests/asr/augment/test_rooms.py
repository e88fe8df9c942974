"""Rooms: geometry as in the image method, direct sound at time 0, levels kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import write_wav
from asr.augment import Reverberate, RoomConfig
from asr.augment.impulses import SPEED_OF_SOUND, Room, impulse_response, random_room
from asr.types import AudioError, ConfigError, Waveform

RATE = 16_000


def response(room):
    return impulse_response(room, RATE, np.random.default_rng(0))


def test_reflections_arrive_when_and_as_strong_as_geometry_says(monkeypatch):
    """The floor's: along a path mirrored at it, weaker by distance and by one reflection."""
    monkeypatch.setattr("asr.augment.impulses.JITTER", 0.0)
    monkeypatch.setattr("asr.augment.impulses._without_rumble", lambda found, rate: found)
    source, microphone = np.array([4.0, 3.0, 1.2]), np.array([6.5, 4.3, 1.5])
    room = Room(np.array([10.0, 8.0, 4.0]), source, microphone, 0.3)
    found = response(room)
    assert found[0] == 1.0
    for mirrored in ([4.0, 3.0, -1.2], [-4.0, 3.0, 1.2], [16.0, 3.0, 1.2], [4.0, 13.0, 1.2]):
        path = np.linalg.norm(np.array(mirrored) - microphone)
        delay = round((path - room.distance) / SPEED_OF_SOUND * RATE)
        assert found[delay] == pytest.approx(room.reflection * room.distance / path, rel=1e-5)
    first = round((np.linalg.norm([4 - 6.5, 3 - 4.3, -1.2 - 1.5]) - room.distance) / 343 * RATE)
    assert not found[1:first].any()  # nothing is nearer than the floor


@pytest.mark.parametrize("rt60", [0.2, 0.4])
def test_sound_falls_by_sixty_decibels_in_the_asked_time(rt60):
    """Schroeder's backward integral from -5 to -25 dB, in a cube, where Eyring's formula holds."""
    place = np.array([1.7, 2.2, 1.4])
    found = response(Room(np.full(3, 4.0), place, np.array([2.6, 1.3, 2.5]), rt60)).astype("f8")
    energy = 10 * np.log10(np.cumsum(found[::-1] ** 2)[::-1] / np.sum(found**2))
    t5, t25 = (np.argmax(energy < level) / RATE for level in (-5, -25))
    assert 3 * (t25 - t5) == pytest.approx(rt60, rel=0.2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9999))
def test_a_room_holds_both_places_at_about_the_asked_distance(seed):
    room = random_room((0.1, 0.2), (0.5, 1.0), np.random.default_rng(seed))
    for place in (room.source, room.microphone):
        assert np.all(place >= 0.4 - 1e-9)
        assert np.all(place <= room.size - 0.4 + 1e-9)
    assert room.distance <= 1.0 + 1e-9
    found = response(room)
    assert found[0] == 1.0
    assert len(found) == round(room.rt60 * RATE)


def clicks():
    samples = np.zeros(RATE, "f4")
    samples[[1000, 9000]] = 0.5
    return samples


def test_words_keep_their_times_and_the_utterance_its_level_and_length():
    reverberate = Reverberate(RoomConfig(rooms=5, probability=1.0), RATE)
    for seed in range(5):
        heard = reverberate(clicks(), np.random.default_rng(seed))
        assert heard.shape == (RATE,)
        assert np.abs(heard[:1000]).max() < 1e-6  # nothing before the direct sound
        assert heard[1000] > 0.01
        assert np.mean(heard**2) == pytest.approx(np.mean(clicks() ** 2), rel=1e-5)


def test_several_rooms_are_drawn_and_always_the_same_ones():
    config = RoomConfig(rooms=4, probability=1.0)
    drawn, again = (
        [Reverberate(config, RATE)(clicks(), np.random.default_rng(n)) for n in range(20)]
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert len({heard.tobytes() for heard in drawn}) == 4


def test_recorded_responses_begin_at_their_direct_sound(tmp_path):
    measured = np.zeros(800, "f4")
    measured[[300, 500]] = 0.8, 0.4
    write_wav(tmp_path / "hall.wav", Waveform(measured, RATE))
    heard = Reverberate(RoomConfig(str(tmp_path), probability=1.0), RATE)(
        clicks(), np.random.default_rng(0)
    )
    assert np.flatnonzero(np.abs(heard) > 1e-3).tolist() == [1000, 1200, 9000, 9200]
    assert heard[1200] / heard[1000] == pytest.approx(0.5, abs=1e-4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="no audio files"):
        Reverberate(RoomConfig(str(tmp_path / "empty")), RATE)


@pytest.mark.parametrize("size", [1, 2, 100, 7919])
def test_the_convolution_is_numpys(size, tmp_path):
    rng = np.random.default_rng(1)
    samples = rng.standard_normal(size).astype("f4")
    reverberate = Reverberate(RoomConfig(rooms=1, probability=1.0), RATE)
    heard = reverberate(samples, rng)
    direct = np.convolve(samples, reverberate._simulated[0])[:size]
    direct *= np.sqrt(np.mean(samples**2) / np.mean(direct**2))
    assert np.allclose(heard, direct, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rooms": 0},
        {"min_rt60": 0.0},
        {"min_rt60": 0.5, "max_rt60": 0.3},
        {"max_rt60": 3.0},
        {"min_distance": 0.0},
        {"probability": -1.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"room: .*{list(wrong)[-1]}"):
        RoomConfig(**wrong)
