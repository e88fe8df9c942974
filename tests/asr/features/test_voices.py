"""Where a recording changes its voice, and what that does to its features."""

import numpy as np
import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor
from asr.features.voices import voice_changes

RATE = 16_000
SECONDS = 0.01  # a frame


def said(voice, seconds, rng, phones=12):
    """Frames ``(T, 20)`` and loudness of a voice: phones of 80 ms that vary around its mean, and a
    pause of 0.4 s behind every 3 s."""
    parts, levels = [], []
    sounds = np.random.default_rng(7).normal(0.0, 1.0, (phones, 20))  # all voices have the same
    while sum(map(len, parts)) * SECONDS < seconds:
        for number in rng.integers(phones, size=38):
            parts.append(voice + sounds[number] + rng.normal(0.0, 0.3, (8, 20)))
            levels.append(np.zeros(8))
        parts.append(np.full((40, 20), -8.0))
        levels.append(np.full(40, -8.0))
    return np.concatenate(parts), np.concatenate(levels)


def joined(turns, seed=0):
    rng = np.random.default_rng(seed)
    spoken = [said(voice, seconds, rng) for voice, seconds in turns]
    ends = np.cumsum([len(frames) for frames, _ in spoken])[:-1]
    return *(np.concatenate(parts) for parts in zip(*spoken, strict=True)), ends


LOW, HIGH = np.zeros(20), np.linspace(1.5, -1.5, 20)


@pytest.mark.parametrize("seed", range(3))
def test_voices_that_take_turns_are_told_apart_in_the_pauses_between_them(seed):
    frames, loudness, ends = joined([(LOW, 9), (HIGH, 6), (LOW, 12)], seed)
    found = voice_changes(frames, loudness, SECONDS)
    assert len(found) == 2
    for change, end in zip(found, ends, strict=True):
        assert end - 40 <= change <= end


@pytest.mark.parametrize("seed", range(3))
def test_one_voice_is_one_however_long_and_silence_is_no_voice(seed):
    frames, loudness, _ = joined([(HIGH, 28)], seed)
    assert voice_changes(frames, loudness, SECONDS) == []
    silence = np.full((1000, 20), -8.0), np.full(1000, -8.0)
    assert voice_changes(*silence, SECONDS) == []
    assert voice_changes(frames[:1], loudness[:1], SECONDS) == []


def test_a_few_words_of_another_voice_are_too_little_for_statistics():
    frames, loudness, _ = joined([(LOW, 9), (LOW, 9)])
    frames[930:1000] += HIGH  # 0.7 s
    assert voice_changes(frames, loudness, SECONDS) == []


CONFIGS = [
    {},
    {"energy": True, "deltas": 1, "stack": 3, "subsample": 3},
    {"kind": "mfcc", "energy": True},
    {"silence_db": 30.0},
]


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_each_voice_has_the_features_that_it_has_alone(options):
    extractor = FeatureExtractor(FeatureConfig(**options))
    one, two = spoken(120.0, 0.05, 0), spoken(900.0, 0.5, 1)
    both, alone = torch.cat([one, two])[None], torch.tensor([len(one)])
    lengths = torch.tensor([both.shape[1]])
    step = extractor.config.subsample
    expected = extractor(one[None], alone)[0][0, : 400 // step]
    found = extractor(both, lengths, may_change=[True])[0][0, : len(expected)]
    as_one = extractor(both, lengths)[0][0, : len(expected)]
    # Not equal: of the pause between them, not every frame is with its voice.
    off, off_as_one = ((each - expected).abs().mean() for each in (found, as_one))
    assert off_as_one > 0.5
    assert off < 0.2 * off_as_one

    # In a batch, the others are what they are.
    pair = both.repeat(2, 1)
    mixed = extractor(pair, lengths.repeat(2), may_change=[False, True])[0]
    torch.testing.assert_close(mixed[0, : len(expected)], as_one, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[1, : len(expected)], found, rtol=0, atol=1e-5)


def spoken(hertz, level, seed):
    """Six seconds of syllables, faint noise around them, and half a second of pause at each end."""
    rng = np.random.default_rng(seed)
    t = np.arange(5 * RATE) / RATE
    pitch = hertz * (1 + 0.2 * np.sin(2 * np.pi * 3.1 * t))
    wave = sum(np.sin(k * np.cumsum(2 * np.pi * pitch / RATE)) / k for k in range(1, 5))
    wave *= level * (0.3 + 0.7 * np.sin(2 * np.pi * 2.3 * t) ** 2)
    samples = np.concatenate([np.zeros(RATE // 2), wave, np.zeros(RATE // 2)])
    return torch.from_numpy(samples + 1e-4 * rng.standard_normal(len(samples))).float()


def test_statistics_of_the_corpus_know_no_voices():
    extractor = FeatureExtractor(FeatureConfig(normalisation="none"))
    both = torch.cat([spoken(120.0, 0.05, 0), spoken(900.0, 0.5, 1)])[None]
    lengths = torch.tensor([both.shape[1]])
    assert torch.equal(extractor(both, lengths, may_change=[True])[0], extractor(both, lengths)[0])
