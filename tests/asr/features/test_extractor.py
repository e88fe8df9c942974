"""Features against librosa and Kaldi's own code, and their independence of the batch."""

import sys

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor
from asr.features._torchaudio import torchaudio
from asr.features.frontends import TorchaudioFrontEnd
from asr.types import AudioError, ConfigError, CorpusError, MissingPackageError
from tests.asr.features.signals import extract, synthetic_speech


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
@pytest.mark.parametrize("deltas", [0, 1, 2])
@pytest.mark.parametrize("normalisation", ["none", "utterance"])
def test_torchaudio_agrees_with_librosa(speech, kind, deltas, normalisation):
    options = {"kind": kind, "energy": True, "deltas": deltas, "normalisation": normalisation}
    fast = extract(speech, **options)
    reference = extract(speech, backend="librosa", **options)
    torch.testing.assert_close(fast, reference, atol=1e-3, rtol=0)


def kaldi(options_type, online_type, samples, **changes):
    options = options_type()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = 16_000
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = 0.0
    options.energy_floor = 0.0
    for name, value in changes.items():
        target = options.mel_opts if name == "num_bins" else options
        setattr(target, name, value)
    online = online_type(options)
    online.accept_waveform(16_000, (samples * 32768).tolist())
    online.input_finished()
    return torch.from_numpy(np.stack([online.get_frame(t) for t in range(online.num_frames_ready)]))


@pytest.mark.parametrize("rate", [16000, 11025])
def test_energies_are_those_that_torchaudio_gives(rate, speech):
    config = FeatureConfig(sample_rate=rate, num_mels=23, low_hz=60.0, preemphasis=0.0)
    functional = torchaudio.functional
    samples = speech[None, :20000]
    power = functional.spectrogram(
        samples,
        pad=0,
        window=torch.hann_window(config.win_length),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        power=2.0,
        normalized=False,
        center=False,
    )
    filters = functional.melscale_fbanks(config.n_fft // 2 + 1, 60.0, rate / 2, 23, rate)
    expected = (power.transpose(1, 2) @ filters).clamp(min=1e-7).log()
    lengths = torch.tensor([samples.shape[1]])
    found = TorchaudioFrontEnd(config)(samples, lengths)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6)  # of a logarithm: rounding


def test_kaldi_style_filters_agree_with_kaldi(speech):
    mine = extract(speech, style="kaldi", num_mels=40, normalisation="none")
    theirs = kaldi(knf.FbankOptions, knf.OnlineFbank, speech, num_bins=40)
    torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=0)


def test_kaldi_style_cepstra_agree_with_kaldi(speech):
    mine = extract(
        speech, style="kaldi", kind="mfcc", num_mels=23, energy=True, normalisation="none"
    )
    theirs = kaldi(
        knf.MfccOptions, knf.OnlineMfcc, speech, num_bins=23, num_ceps=13, use_energy=True
    )
    torch.testing.assert_close(mine[:, :12], theirs[:, 1:], atol=5e-3, rtol=0)
    torch.testing.assert_close(mine[:, 12], theirs[:, 0], atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "frame"), [("graves2006", 26, (160, 80)), ("graves2013", 123, (400, 160))]
)
def test_presets_have_the_papers_sizes(name, size, frame):
    config = FeatureConfig.preset(name)
    assert config.size == size
    assert (config.win_length, config.hop_length) == frame  # samples at 16 kHz
    extractor = FeatureExtractor(config)
    features, _ = extractor(synthetic_speech().unsqueeze(0), torch.tensor([16_000]))
    assert features.shape[2] == size


CONFIGS = [
    {"energy": True, "deltas": 2, "stack": 3, "subsample": 3},
    {"kind": "mfcc", "energy": True, "deltas": 1},
    {"style": "kaldi"},
    {"backend": "librosa", "deltas": 1},
    {"normalisation": "global", "stack": 2, "subsample": 1},
    {"silence_db": 20.0, "deltas": 1},
    {"range_db": 60.0, "silence_db": 20.0},
]


@pytest.mark.parametrize("options", CONFIGS)
def test_an_utterance_does_not_depend_on_its_batch(options):
    extractor = FeatureExtractor(FeatureConfig(**options))
    long = synthetic_speech(0.9)
    short = long[2000:9000]
    waveforms = torch.full((2, len(long) + 1000), 0.7)  # rubbish beyond the lengths
    waveforms[0, : len(long)] = long
    waveforms[1, : len(short)] = short
    features, lengths = extractor(waveforms, torch.tensor([len(long), len(short)]))
    for b, samples in enumerate([long, short]):
        alone, length = extractor(samples.unsqueeze(0), torch.tensor([len(samples)]))
        assert length.item() == lengths[b].item() == extractor.num_frames(len(samples))
        torch.testing.assert_close(features[b, : lengths[b]], alone[0], atol=1e-5, rtol=1e-5)
        assert not features[b, lengths[b] :].any()


@pytest.mark.parametrize("options", CONFIGS)
@pytest.mark.parametrize("samples", [0, 1, 399, 400, 511, 512, 513, 1000, 4321])
def test_the_number_of_frames_is_foretold(options, samples):
    extractor = FeatureExtractor(FeatureConfig(**options))
    features, lengths = extractor(synthetic_speech()[None, :samples], torch.tensor([samples]))
    assert lengths.item() == extractor.num_frames(samples)
    assert extractor.num_frames(torch.tensor([samples])).item() == lengths.item()
    assert features.shape[1] >= lengths.item()
    assert torch.isfinite(features).all()


def test_normalised_features_have_zero_mean_and_unit_variance():
    features = extract(synthetic_speech(), energy=True, deltas=1)
    torch.testing.assert_close(features.mean(0), torch.zeros(82), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(82), atol=1e-3, rtol=0)


def test_digital_silence_stays_finite():
    assert torch.isfinite(extract(torch.zeros(16_000), energy=True, deltas=2)).all()


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100])
@pytest.mark.parametrize("style", ["default", "kaldi"])
def test_the_number_of_frames_is_foretold_at_odd_rates(rate, style):
    extractor = FeatureExtractor(FeatureConfig(sample_rate=rate, style=style))
    first = extractor.config.frame_span
    for samples in range(first, first + extractor.config.hop_length + 2):
        frames, _ = extractor(torch.full((1, samples), 0.1), torch.tensor([samples]))
        assert frames.shape[1] == extractor.num_frames(samples)


@pytest.mark.parametrize("options", CONFIGS)
def test_half_precision_around_them_changes_nothing(options):
    extractor = FeatureExtractor(FeatureConfig(**options))
    waveforms, lengths = synthetic_speech().unsqueeze(0), torch.tensor([16_000])
    plain, _ = extractor(waveforms, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = extractor(waveforms, lengths)
    assert torch.equal(plain, mixed)
    assert not plain.requires_grad


def test_unnormalised_features_ignore_statistics():
    extractor = FeatureExtractor(FeatureConfig(normalisation="none"))
    waveforms, lengths = synthetic_speech().unsqueeze(0), torch.tensor([16_000])
    before, _ = extractor(waveforms, lengths)
    extractor.fit_statistics([(waveforms, lengths, None)])
    assert torch.equal(extractor(waveforms, lengths)[0], before)


def test_statistics_of_nothing_are_refused():
    extractor = FeatureExtractor(FeatureConfig(normalisation="global"))
    too_short = (torch.zeros(1, 100), torch.tensor([100]), ["a"])
    for batches in ([], [too_short]):
        with pytest.raises(CorpusError, match="no frames"):
            extractor.fit_statistics(batches)


@pytest.mark.parametrize("normalisation", ["global", "speaker"])
def test_corpus_and_speaker_statistics_normalise_what_they_were_made_from(normalisation):
    extractor = FeatureExtractor(FeatureConfig(normalisation=normalisation))
    quiet, loud = synthetic_speech() * 0.1, synthetic_speech()
    waveforms, lengths = torch.stack([quiet, loud]), torch.tensor([16_000, 12_000])
    extractor.fit_statistics([(waveforms, lengths, ["a", "b"])])
    frames, lengths = extractor.frames(waveforms, lengths, ["a", "b"])
    parts = [frames[b, : lengths[b]] for b in range(2)]
    groups = [torch.cat(parts)] if normalisation == "global" else parts
    for group in groups:
        torch.testing.assert_close(group.mean(0), torch.zeros(40), atol=1e-3, rtol=0)
        torch.testing.assert_close(group.std(0, correction=0), torch.ones(40), atol=1e-3, rtol=0)


def test_an_unknown_speaker_is_normalised_by_the_utterance():
    by_speaker = FeatureExtractor(FeatureConfig(normalisation="speaker"))
    by_utterance = FeatureExtractor(FeatureConfig(normalisation="utterance"))
    waveforms, lengths = synthetic_speech().unsqueeze(0), torch.tensor([16_000])
    assert torch.equal(
        by_speaker(waveforms, lengths, ["nobody"])[0], by_utterance(waveforms, lengths)[0]
    )


def test_global_statistics_travel_in_the_state():
    config = FeatureConfig(normalisation="global")
    fitted, loaded = FeatureExtractor(config), FeatureExtractor(config)
    waveforms, lengths = synthetic_speech().unsqueeze(0), torch.tensor([16_000])
    fitted.fit_statistics([(waveforms, lengths, None)])
    assert set(fitted.state_dict()) == {"mean", "inv_std"}
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded(waveforms, lengths)[0], fitted(waveforms, lengths)[0])


def test_stacking_joins_neighbouring_frames():
    plain = extract(synthetic_speech())
    stacked = extract(synthetic_speech(), stack=3, subsample=2)
    assert torch.equal(stacked[4], plain[8:11].flatten())


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "plp"},
        {"deltas": 3},
        {"stack": 0},
        {"sample_rate": 0},
        {"frame_shift_ms": 50.0},
        {"low_hz": 9000.0},
        {"high_hz": 9000.0},
        {"preemphasis": 1.0},
        {"kind": "mfcc", "num_ceps": 40},
        {"style": "kaldi", "backend": "librosa"},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        FeatureConfig(**options)


def test_configurations_survive_json_and_refuse_unknown_keys():
    config = FeatureConfig.preset("graves2013")
    assert FeatureConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="colour"):
        FeatureConfig.from_dict({"colour": 1})
    with pytest.raises(ConfigError, match="graves2006"):
        FeatureConfig.preset("graves1999")


def test_without_librosa_its_backend_names_the_extra_and_the_others_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    FeatureExtractor(FeatureConfig())
    with pytest.raises(MissingPackageError, match=r"librosa.*'peephole-asr\[librosa\]'"):
        FeatureExtractor(FeatureConfig(backend="librosa"))


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_too_short_for_a_frame_is_no_frame_alone_and_beside_others(kind):
    extractor = FeatureExtractor(FeatureConfig(kind=kind))
    waveforms = torch.randn(2, 16_000)
    for batch, lengths in ((waveforms[:1, :10], [10]), (waveforms, [10, 16_000])):
        _, frames = extractor(batch, torch.tensor(lengths), None, [True] * len(lengths))
        assert frames.tolist() == [0, extractor.num_frames(16_000)][: len(lengths)]
    features, frames = extractor(waveforms[:0], torch.tensor([], dtype=torch.long))
    assert features.shape == (0, extractor.num_frames(16_000), extractor.config.size)
    assert frames.shape == (0,)


@pytest.mark.parametrize("samples", [0, 100, 16_000])
@pytest.mark.parametrize("style", ["default", "kaldi"])
@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_an_empty_batch_has_the_frames_of_one_as_long(kind, style, samples):
    extractor = FeatureExtractor(FeatureConfig(kind=kind, style=style, energy=True, stack=3))
    found, expected = (
        extractor(torch.zeros(B, samples), torch.full((B,), samples))[0] for B in (0, 2)
    )
    assert found.shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("lengths", [[16_001], [-1], [1.5], [1, 2]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(AudioError, match="do not fit"):
        FeatureExtractor(FeatureConfig())(torch.zeros(1, 16_000), torch.tensor(lengths))
