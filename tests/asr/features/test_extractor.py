"""Features against librosa and Kaldi's own code, and their independence of the batch."""

import sys

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch

from asr.audio import read_audio
from asr.features import FeatureConfig, FeatureExtractor, RunningStatistics
from asr.features._torchaudio import torchaudio
from asr.features.frontends import TorchaudioFrontEnd
from asr.types import ConfigError, CorpusError, MissingPackageError


def synthetic_speech(seconds=1.0, rate=16_000):
    """A gliding, pulsing harmonic tone with a little noise: voiced speech, roughly."""
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.5 * t)) / rate
    tone = sum(np.sin(k * pitch) / k for k in range(1, 20))
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)
    samples = 0.1 * envelope * tone + 0.002 * rng.standard_normal(len(t))
    return torch.from_numpy(samples.astype(np.float32))


@pytest.fixture(params=["synthetic", "real"])
def speech(request, shared_data):
    if request.param == "synthetic":
        return synthetic_speech()
    path = next(iter(sorted((shared_data("an4") / "wav").rglob("*.flac"))))
    return torch.from_numpy(read_audio(path).samples)


def extract(samples, **options):
    extractor = FeatureExtractor(FeatureConfig(**options))
    features, lengths = extractor(samples.unsqueeze(0), torch.tensor([len(samples)]))
    assert lengths.tolist() == [features.shape[1]]
    return features[0]


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


def faded(samples):
    """``samples`` that come and go over a tenth of a second, as words do."""
    ramp = torch.linspace(0, 1, 1600) ** 2
    return torch.cat([samples[:1600] * ramp, samples[1600:-1600], samples[-1600:] * ramp.flip(0)])


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


@pytest.mark.parametrize("normalisation", ["none", "global"])
def test_what_does_not_depend_on_the_utterance_has_no_running_statistics(normalisation, speech):
    extractor = FeatureExtractor(FeatureConfig(normalisation=normalisation))
    waveform, lengths = speech[None], torch.tensor([len(speech)])
    whole, running = (
        extractor.frames(waveform, lengths, running=flag)[0] for flag in (False, True)
    )
    assert torch.equal(whole, running)
