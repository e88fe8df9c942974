"""Several changes at once: repeatable, independent of each other, within full scale."""

from dataclasses import replace

import numpy as np
import pytest

from asr.audio import write_wav
from asr.augment import (
    AddNoise,
    AugmentConfig,
    BabbleConfig,
    Chain,
    Clip,
    Gain,
    OpusConfig,
    RecordedNoiseConfig,
    RoomConfig,
    SilenceConfig,
    TelephoneConfig,
    make_changes,
)
from asr.types import Waveform

RATE = 16_000


@pytest.fixture
def everything(tmp_path):
    """All changes, made of every utterance."""
    noise = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype("f4")
    write_wav(tmp_path / "noise.wav", Waveform(noise, RATE))
    return AugmentConfig(
        silence=SilenceConfig(probability=1.0),
        room=RoomConfig(rooms=2, probability=1.0),
        babble=BabbleConfig(probability=1.0),
        noise=RecordedNoiseConfig(str(tmp_path), probability=1.0),
        computed_noise=AddNoise(probability=1.0),
        gain=Gain(probability=1.0),
        clipping=Clip(probability=1.0),
        telephone=TelephoneConfig(probability=1.0),
        opus=OpusConfig(probability=1.0),
    )


def voice(rng):
    return (0.1 * rng.standard_normal(RATE // 2)).astype("f4")


def speech(seed=0, seconds=1.0):
    t = np.arange(int(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * 300 * t * (1 + seed / 10)).astype("f4")


def test_all_of_it_is_repeatable_new_for_each_key_and_within_full_scale(everything):
    chain = Chain(make_changes(everything, RATE, voice))
    samples = speech()
    before = samples.copy()
    first = chain(samples, [1, 2, 3])
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1.0
    assert np.array_equal(samples, before)
    assert np.array_equal(first, Chain(make_changes(everything, RATE, voice))(samples, [1, 2, 3]))
    for other in ([0, 2, 3], [1, 0, 3], [1, 2, 0]):
        again = chain(samples, other)
        assert len(again) != len(first) or not np.array_equal(again, first)


def test_no_utterance_becomes_longer_than_announced(everything):
    quick = replace(everything, room=None, opus=None)
    chain = Chain(make_changes(quick, RATE, voice))
    added = [(len(chain(speech(), [n])) - RATE) / RATE for n in range(60)]
    assert min(added) > 0
    assert 0.8 < max(added) <= everything.max_added_seconds


def test_to_add_a_change_does_not_alter_the_others(everything):
    """So that what an experiment leaves out is all that differs."""
    changes = make_changes(everything, RATE, voice)
    draws = {}

    def spy(name):
        def change(samples, rng):
            draws.setdefault(name, []).append(rng.random())
            return samples

        return change

    Chain({name: spy(name) for name in changes})(speech(), [7])
    Chain({"gain": spy("gain")})(speech(), [7])
    assert draws["gain"][0] == draws["gain"][1]
    assert len({values[0] for values in draws.values()}) == len(changes)


def test_no_change_is_no_change():
    samples = 3 * speech()
    assert Chain({})(samples, [0]) is samples
    assert make_changes(AugmentConfig(), RATE, voice) == {}
