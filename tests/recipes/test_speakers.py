"""Statistics of normalisation: what training had, evaluation has; a bundle says what it does."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from asr.audio import read_audio, write_wav
from asr.bundle import load_bundle
from asr.decoding import GreedyOptions
from asr.features import FeatureConfig, FeatureExtractor
from asr.recognizer import Recognizer
from asr.types import Waveform
from recipes.common.audio import load_samples
from recipes.common.data import SpeechDataModule, manifest_path
from recipes.common.evaluate import EvaluateOptions, evaluate
from recipes.common.export import bundle_from_checkpoint, export
from recipes.common.manifests import Utterance, read_manifest, write_manifest


@pytest.fixture
def checkpoint_of(toy, toy_data, tmp_path):
    """Makes a checkpoint as `fit` would, of a net whose hypotheses depend on each frame.

    Returns it with what training's own validation says of the development split.
    """
    return lambda normalisation: toy.checkpoint(
        toy_data, tmp_path / f"{normalisation}.ckpt", normalisation
    )


def evaluated(toy, checkpoint, toy_data, tmp_path, corpus=None):
    options = EvaluateOptions(
        bundle=bundle_from_checkpoint(checkpoint, "toy"),
        model=checkpoint,
        splits=("dev",),
        data=toy_data,
        corpus=corpus,
        decoder=GreedyOptions(),
        batch_seconds=3.0,
        device="cpu",
        backend="torch",
        results=tmp_path,
    )
    return {s.id: s.hypothesis for s in evaluate(toy.recipe(), options)["dev"].scored}


@pytest.mark.parametrize("normalisation", ["none", "utterance", "speaker", "global"])
def test_evaluation_hears_what_training_heard(
    toy, toy_data, tmp_path, checkpoint_of, normalisation
):
    checkpoint, heard = checkpoint_of(normalisation)
    assert len(set(heard.values())) > 1
    assert evaluated(toy, checkpoint, toy_data, tmp_path) == heard
    corpus = toy_data.parent / "corpus"
    assert evaluated(toy, checkpoint, toy_data, tmp_path, corpus) == heard


def test_statistics_by_speaker_matter_to_this_net(toy, toy_data, tmp_path, checkpoint_of):
    """Otherwise the test above could not fail."""
    checkpoint, heard = checkpoint_of("speaker")
    recognizer = Recognizer(bundle_from_checkpoint(checkpoint, "toy"), backend="torch")
    corpus = toy_data.parent / "corpus"
    waveforms = [read_audio(corpus / f"{name}.wav") for name in heard]
    assert [t.text for t in recognizer.recognize(waveforms)] != list(heard.values())


@pytest.mark.parametrize("normalisation", ["utterance", "speaker", "global"])
def test_a_bundle_says_what_it_does(toy_data, tmp_path, checkpoint_of, normalisation):
    checkpoint, _ = checkpoint_of(normalisation)
    export(checkpoint, tmp_path / "bundle", "toy")
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    does = {"speaker": "utterance"}.get(normalisation, normalisation)
    assert config["features"]["normalisation"] == does
    assert ("speaker" in json.dumps(config["metadata"])) == (normalisation == "speaker")
    loaded = load_bundle(tmp_path / "bundle").extractor
    trained = bundle_from_checkpoint(checkpoint, "toy").extractor
    waveform = torch.from_numpy(read_audio(toy_data.parent / "corpus" / "dev0.wav").samples)[None]
    length = torch.tensor([waveform.shape[1]])
    features, _ = loaded(waveform, length)
    np.testing.assert_allclose(features, trained(waveform, length)[0], atol=1e-5)
    if does == "utterance":
        assert features.mean(dim=1).abs().max() < 1e-4  # its own statistics, none of others


def test_who_is_not_named_has_no_statistics_in_common():
    extractor = FeatureExtractor(FeatureConfig(num_mels=8, normalisation="speaker"))
    rng = np.random.default_rng(0)
    quiet, loud = (
        torch.from_numpy(scale * rng.standard_normal((1, 8000)).astype("f4")) for scale in (0.01, 1)
    )
    length = torch.tensor([8000])
    extractor.fit_statistics([(quiet, length, [None]), (loud, length, [None])])
    assert extractor.speakers == {}
    features, _ = extractor(loud, length, [None])
    assert features.mean(dim=1).abs().max() < 1e-4


def test_what_cannot_be_aligned_counts_for_its_speaker_in_training_as_in_evaluation(
    toy, toy_data, tmp_path
):
    data_dir = tmp_path / "data"
    shutil.copytree(toy_data, data_dir)
    utterances = toy.utterances(toy_data.parent / "corpus", "dev")
    louder = tmp_path / "louder.wav"
    write_wav(louder, Waveform(np.sin(np.arange(16_000) / 9).astype("f4") * 0.9, 16_000))
    strange = Utterance("strange", louder, "xyz", utterances[0].speaker)
    write_manifest(manifest_path(data_dir, "dev"), [*utterances, strange])
    data = SpeechDataModule(str(data_dir))
    trained = FeatureExtractor(FeatureConfig(num_mels=8, normalisation="speaker"))
    evaluated = copy.deepcopy(trained)
    assert data.preflight("dev", trained.num_frames).unknown == ("strange",)
    assert "strange" not in {name for batch in data.val_dataloader() for name in batch.ids}
    trained.fit_statistics(
        (b.waveforms, b.lengths, b.speakers) for b in data.plain_dataloader("dev")
    )
    cuts = list(read_manifest(manifest_path(data_dir, "dev")))
    samples = [torch.from_numpy(load_samples(cut).samples)[None] for cut in cuts]
    evaluated.fit_speakers(
        (audio, torch.tensor([audio.shape[1]]), [cut.supervisions[0].speaker])
        for audio, cut in zip(samples, cuts, strict=True)
    )
    assert trained.speakers.keys() == evaluated.speakers.keys()
    for speaker, statistics in trained.speakers.items():
        for one, other in zip(statistics, evaluated.speakers[speaker], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
