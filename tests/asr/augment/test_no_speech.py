"""Audio without words: its kinds, its levels, its share."""

import numpy as np
import pytest

from asr.audio import write_wav
from asr.augment import NoSpeech, NoSpeechConfig, Recordings
from asr.types import ConfigError, Waveform

RATE = 16_000


def test_levels_lie_in_the_range_and_the_asked_share_is_digital_silence():
    make = NoSpeech(NoSpeechConfig(0.3, -60.0, -30.0, probability=1.0), None)
    made = [make(4000, np.random.default_rng(n)) for n in range(300)]
    assert all(samples.shape == (4000,) and samples.dtype == np.float32 for samples in made)
    levels = [10 * np.log10(np.mean(samples**2)) for samples in made if samples.any()]
    assert 0.2 < 1 - len(levels) / 300 < 0.4
    assert np.histogram(levels, 3, (-60.01, -29.99))[0].sum() == len(levels)
    assert np.histogram(levels, 3, (-60.01, -29.99))[0].min() > 40


def test_recordings_are_drawn_beside_computed_noise(tmp_path):
    hum = 0.3 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    write_wav(tmp_path / "hum.wav", Waveform(hum.astype("f4"), RATE))
    make = NoSpeech(NoSpeechConfig(0.0, probability=1.0), Recordings(str(tmp_path), RATE))
    made = [make(RATE, np.random.default_rng(n)) for n in range(90)]
    humming = [np.abs(np.fft.rfft(samples)).argmax() == 100 for samples in made]
    assert 0.2 < np.mean(humming) < 0.5


def test_only_the_asked_share_is_replaced():
    make = NoSpeech(NoSpeechConfig(probability=0.2), None)
    made = [make(10, np.random.default_rng(n)) is not None for n in range(1000)]
    assert 160 < sum(made) < 240
    assert len(NoSpeech(NoSpeechConfig(probability=1.0), None)(0, np.random.default_rng(0))) == 0


@pytest.mark.parametrize(
    "wrong", [{"digital": 2.0}, {"min_level_db": 0.0}, {"probability": float("nan")}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"no_speech: .*{next(iter(wrong))}"):
        NoSpeechConfig(**wrong)
