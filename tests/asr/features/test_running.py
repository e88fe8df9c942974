"""Running statistics: what a stream knows of itself so far, beside the corpus'."""

import numpy as np
import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor, RunningStatistics


def test_running_statistics_are_those_of_the_frames_so_far_beside_the_corpus(speech):
    extractor = FeatureExtractor(FeatureConfig())
    waveform = speech[None]
    lengths = torch.tensor([len(speech)])
    extractor.fit_statistics([(waveform, lengths, None)])
    raw, _ = FeatureExtractor(FeatureConfig(normalisation="none")).frames(waveform, lengths)
    found, _ = extractor.frames(waveform, lengths, running=True)
    frames = raw[0].double().numpy()
    mean, variance = frames.mean(axis=0), frames.var(axis=0)
    weight = 200  # two seconds
    for t in (0, 7, len(frames) - 1):
        sums = weight * mean + frames[: t + 1].sum(axis=0)
        squares = weight * (variance + mean**2) + (frames[: t + 1] ** 2).sum(axis=0)
        now = sums / (weight + t + 1)
        std = np.sqrt(squares / (weight + t + 1) - now**2)
        np.testing.assert_allclose(found[0, t], (frames[t] - now) / std, rtol=0, atol=2e-3)


@pytest.mark.parametrize("silence_db", [None, 20.0])
def test_running_statistics_are_the_same_in_any_pieces_and_in_any_batch(silence_db):
    torch.manual_seed(0)
    frames, loudness = 3 * torch.randn(2, 50, 4) - 5, 6 * torch.randn(2, 50, 1)
    corpus = torch.tensor([-4.0, -5.0, -6.0, 0.0]), torch.tensor([0.3, 0.2, 1.0, 2.0])
    whole = RunningStatistics(*corpus, 30.0, 2, silence_db).add(frames, loudness)
    pieces = RunningStatistics(*corpus, 30.0, 2, silence_db)
    split = [each.split([1, 0, 17, 2, 30], dim=1) for each in (frames, loudness)]
    parts = [pieces.add(*part) for part in zip(*split, strict=True)]
    alone = RunningStatistics(*corpus, 30.0, 1, silence_db).add(frames[1:], loudness[1:])
    for number in range(2):
        together = torch.cat([part[number] for part in parts], dim=1)
        assert torch.equal(together, whole[number])
        assert torch.equal(alone[number][0], whole[number][1])


@pytest.mark.parametrize("normalisation", ["none", "global"])
def test_what_does_not_depend_on_the_utterance_has_no_running_statistics(normalisation, speech):
    extractor = FeatureExtractor(FeatureConfig(normalisation=normalisation))
    waveform, lengths = speech[None], torch.tensor([len(speech)])
    whole, running = (
        extractor.frames(waveform, lengths, running=flag)[0] for flag in (False, True)
    )
    assert torch.equal(whole, running)
