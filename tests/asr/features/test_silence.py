"""``silence_db``: statistics that leave silence out."""

import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor, RunningStatistics
from asr.types import ConfigError
from tests.asr.features.signals import faded


def test_running_statistics_leave_silence_out(speech):
    """Once speech was heard, silence changes nothing, however long it lasts."""
    extractor = FeatureExtractor(FeatureConfig(silence_db=30.0))
    statistics = extractor.running_statistics(1)
    raw, _ = FeatureExtractor(FeatureConfig(normalisation="none")).frames(
        speech[None], torch.tensor([len(speech)])
    )
    statistics.add(raw, extractor.loudness(raw))
    silence = raw.new_full((1, 500, raw.shape[2]), -16.0)
    mean, inv_std = statistics.add(silence, extractor.loudness(silence))
    assert torch.equal(mean, mean[:, :1].expand_as(mean))
    assert torch.equal(inv_std, inv_std[:, :1].expand_as(inv_std))


def test_a_bang_does_not_make_later_speech_silence():
    """Each time that a stream forgets, what was loudest fades; else speech never counts again."""
    statistics = RunningStatistics(torch.zeros(2), torch.ones(2), 10.0, 1, silence_db=30.0)
    bang, speech = torch.full((1, 1, 2), 9.0), torch.ones(1, 50, 2)
    statistics.add(bang, torch.full((1, 1, 1), 9.0))
    apart = statistics.copy()
    means = []
    for _ in range(4):
        mean, _ = statistics.add(speech, torch.full((1, 50, 1), -3.0))  # 52 dB fainter
        means.append(mean[0, :, 0])
        statistics.forget(10.0)
    assert torch.equal(means[0], means[0][:1].expand(50))  # it does not count yet
    assert abs(float(means[3][-1]) - 1) < 0.1 < abs(float(means[0][-1]) - 1)
    assert float(apart.loudest) == 9.0


SILENT = [
    {"silence_db": 30.0},
    {"silence_db": 30.0, "energy": True, "stack": 2},
    {"silence_db": 30.0, "style": "kaldi"},
    {"silence_db": 30.0, "kind": "mfcc", "energy": True},
]


@pytest.mark.parametrize("options", SILENT, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("level", [0.0, 1e-5], ids=["digital", "faint"])
def test_silence_around_speech_leaves_its_features_as_they_are(options, level, speech):
    extractor = FeatureExtractor(FeatureConfig(**options))
    speech = faded(speech[: len(speech) // 160 * 160])
    alone, count = extractor(speech[None], torch.tensor([len(speech)]))
    torch.manual_seed(0)
    noise = level * torch.randn(2, 8000)
    around = torch.cat([noise[0], speech, noise[1]])[None]
    lengths = torch.tensor([around.shape[1]])
    within = slice(50 + 2, 50 + int(count) - 4)  # frames at the edges read the silence as well
    found = extractor(around, lengths)[0][0, within]
    torch.testing.assert_close(found, alone[0, 2:-4], rtol=0, atol=1e-4)
    plain = FeatureExtractor(FeatureConfig(**{**options, "silence_db": None}))
    before = plain(speech[None], torch.tensor([len(speech)]))[0][0, 2:-4]
    assert (plain(around, lengths)[0][0, within] - before).abs().max() > 0.5


def test_statistics_of_a_set_leave_silence_out(speech):
    speech = faded(speech)
    means = []
    for waveform in (speech, torch.cat([torch.zeros(16_000), speech])):
        extractor = FeatureExtractor(FeatureConfig(silence_db=30.0, normalisation="speaker"))
        extractor.fit_statistics([(waveform[None], torch.tensor([len(waveform)]), ["a"])])
        means += [extractor.mean, extractor.speakers["a"][0]]
    for mean in means[1:]:
        torch.testing.assert_close(mean, means[0], rtol=0, atol=0.05)


def test_audio_that_is_all_alike_has_statistics():
    """Digital silence and steady noise are as loud as their loudest frame: all frames count."""
    for samples in (torch.zeros(8000), 1e-4 * torch.randn(8000)):
        for running in (False, True):
            extractor = FeatureExtractor(FeatureConfig(silence_db=30.0))
            frames, _ = extractor.frames(samples[None], torch.tensor([8000]), running=running)
            assert torch.isfinite(frames).all()
    extractor = FeatureExtractor(FeatureConfig(silence_db=30.0))
    frames, _ = extractor(torch.randn(2, 8000), torch.tensor([8000, 0]))
    assert torch.isfinite(frames).all()
    assert not frames[1].any()


@pytest.mark.parametrize(
    "options",
    [{"silence_db": 0.0}, {"silence_db": float("nan")}, {"silence_db": 30, "kind": "mfcc"}],
)
def test_silence_that_cannot_be_told_is_refused(options):
    with pytest.raises(ConfigError, match="silence_db"):
        FeatureConfig(**options)
