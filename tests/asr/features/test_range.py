"""``range_db``: noise so far below the loudest frame."""

import numpy as np
import pytest
import torch

from asr.audio import read_audio
from asr.features import FeatureConfig, FeatureExtractor
from asr.types import ConfigError
from tests.asr.features.signals import extract


def before_normalisation(waveform, **options):
    """Frames ``(T, F0)`` of the front end alone, in float64."""
    config = FeatureConfig(normalisation="none", **options)
    frames, _ = FeatureExtractor(config).frames(waveform[None], torch.tensor([len(waveform)]))
    return frames[0].double().numpy()


@pytest.mark.parametrize("style", ["default", "kaldi"])
def test_noise_is_added_so_far_below_the_loudest_frame(style, speech):
    found = extract(speech, range_db=40.0, style=style).double().numpy()
    energies = np.exp(before_normalisation(speech, style=style))
    frames = np.log(energies + energies.sum(axis=1).max() * 1e-4)
    found = found * frames.std(axis=0) + frames.mean(axis=0)
    np.testing.assert_allclose(found, frames, rtol=0, atol=2e-3)


@pytest.mark.parametrize("backend", ["torchaudio", "librosa"])
def test_with_a_range_faint_recordings_have_the_features_of_loud_ones(backend, speech):
    loud = extract(speech, range_db=60.0, backend=backend)
    faint = extract(0.01 * speech, range_db=60.0, backend=backend)
    torch.testing.assert_close(faint, loud, rtol=0, atol=0.02)
    assert (faint - loud).abs().mean() < 1e-3


def test_with_a_range_the_noise_of_16_bits_moves_less(shared_data):
    """At -40 dB, where digital silence comes between the words of a recording of much range."""
    path = sorted((shared_data("librispeech_opus") / "dev-clean-4").rglob("*.opus"))[0]
    loud = torch.from_numpy(read_audio(path).samples)
    faint = (0.01 * loud * 32768).round() / 32768
    moved = {
        range_db: float(
            (extract(faint, range_db=range_db) - extract(loud, range_db=range_db)).abs().mean()
        )
        for range_db in (None, 60.0)
    }
    assert moved[60.0] < 0.7 * moved[None]


@pytest.mark.parametrize("running", [False, True])
def test_with_a_range_digital_silence_comes_out_as_the_noise(running, speech):
    extractor = FeatureExtractor(FeatureConfig(range_db=40.0))
    samples = torch.cat([torch.zeros(8000), speech, torch.zeros(8000)])
    frames, _ = extractor.frames(samples[None], torch.tensor([len(samples)]), running=running)
    raw = before_normalisation(samples)
    noise = np.log(np.exp(raw).sum(axis=1).max()) - np.log(1e4)
    mean, std = (getattr(np.logaddexp(raw, noise), name)(axis=0) for name in ("mean", "std"))
    found = frames[0, -1].double().numpy() * std + mean
    np.testing.assert_allclose(found, noise, rtol=0, atol=2e-3)


def test_a_stream_that_begins_with_digital_silence_has_the_noise_of_the_corpus(speech):
    extractor = FeatureExtractor(FeatureConfig(range_db=60.0))
    extractor.fit_statistics([(speech[None], torch.tensor([len(speech)]), None)])
    silence, _ = extractor._raw(torch.zeros(1, 8000), torch.tensor([8000]))
    statistics = extractor.running_statistics(1)
    statistics.add(silence, extractor.loudness(silence))
    noise = statistics.with_noise(silence)
    loudest = np.log(np.exp(before_normalisation(speech)).sum(axis=1).max())
    assert abs(float(noise.mean()) - (loudest - np.log(1e6))) < 2.3  # 10 dB
    spoken, _ = extractor._raw(0.01 * speech[None], torch.tensor([len(speech)]))
    statistics.add(spoken, extractor.loudness(spoken))
    assert float(statistics.with_noise(silence).mean()) == pytest.approx(
        loudest - np.log(1e4) - np.log(1e6), abs=0.02
    )


@pytest.mark.parametrize("running", [False, True])
def test_audio_that_is_all_alike_has_features_with_a_range(running):
    extractor = FeatureExtractor(FeatureConfig(range_db=60.0))
    waveforms = torch.stack([torch.zeros(8000), torch.ones(8000), 1e-4 * torch.randn(8000)])
    frames, _ = extractor.frames(waveforms, torch.tensor([8000, 8000, 0]), running=running)
    assert torch.isfinite(frames).all()
    assert not frames[2].any()


def test_statistics_of_a_set_have_the_noise_of_each_utterance(speech):
    loud, faint = (FeatureExtractor(FeatureConfig(range_db=40.0)) for _ in range(2))
    loud.fit_statistics([(speech[None], torch.tensor([len(speech)]), None)])
    faint.fit_statistics([(0.01 * speech[None], torch.tensor([len(speech)]), None)])
    fall = torch.full((40,), np.log(1e4), dtype=torch.float32)
    torch.testing.assert_close(loud.mean - faint.mean, fall, rtol=0, atol=1e-3)
    torch.testing.assert_close(loud.inv_std, faint.inv_std, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "options",
    [
        *({"range_db": value} for value in (0.0, -60.0, float("inf"), float("nan"))),
        *({"range_db": 60, **more} for more in ({"energy": True}, {"deltas": 1})),
        {"range_db": 60, "kind": "mfcc"},
        {"range_db": 60, "normalisation": "global"},
        {"range_db": 60, "normalisation": "none"},
    ],
)
def test_a_range_that_cannot_be_kept_is_refused(options):
    with pytest.raises(ConfigError, match="range_db"):
        FeatureConfig(**options)
