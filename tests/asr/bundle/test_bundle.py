"""A bundle comes back as it went, and any damage is told with its file and its remedy."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.bundle import Bundle, load_bundle, save_bundle
from asr.bundle.golden import compute_golden, find_difference, golden_waveform
from asr.decoding import GreedyOptions
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.front import FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.nn.pyramid import join_frames
from asr.tokens import Tokenizer
from asr.types import BundleError, ConfigError

CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokens.txt"


@pytest.fixture
def path(tiny_bundle_path: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, to damage."""
    return Path(shutil.copytree(tiny_bundle_path, tmp_path / "bundle"))


def edit_config(path: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((path / CONFIG).read_text("utf-8"))
    change(config)
    (path / CONFIG).write_text(json.dumps(config), "utf-8")


def edit_weights(path: Path, change: Callable[[dict], object], *, honest: bool = True) -> None:
    """Change the tensors; ``honest`` writes the new checksum too, as a careful hand would."""
    tensors = load_file(path / WEIGHTS)
    change(tensors)
    save_file(tensors, path / WEIGHTS)
    if honest:
        sum_again(path, WEIGHTS)


def sum_again(path: Path, name: str) -> None:
    digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
    edit_config(path, lambda config: config["checksums"].update({name: digest}))


def forward(bundle: Bundle, samples: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        features, lengths = bundle.extractor(
            torch.from_numpy(samples)[None], torch.tensor([len(samples)])
        )
        return bundle.model(features, lengths)


# Round trip


def test_a_bundle_of_subwords_needs_no_other_package(bundle_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    tokens = ["<blank>", "▁", "▁a", "▁c", "b", "c", "ab"]
    tokenizer = Tokenizer(tokens, "subwords", [-2.5, -1.0, -1.125, -0.1, -3.0, -2.0])
    save_bundle(replace(bundle_of(), tokenizer=tokenizer), tmp_path / "b")
    loaded = load_bundle(tmp_path / "b").tokenizer
    assert (loaded.kind, loaded.tokens, loaded.scores) == (
        "subwords",
        tokenizer.tokens,
        tokenizer.scores,
    )
    assert loaded.decode(loaded.encode("ab cab")) == "ab cab"


def test_weights_in_16_bits_halve_the_file_and_stay_so(bundle_of, waveform_of, tmp_path):
    bundle = bundle_of()
    save_bundle(bundle, tmp_path / "whole")
    save_bundle(replace(bundle, half=True), tmp_path / "half")
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_bundle(tmp_path / "half")
    assert loaded.half
    assert all(weight.dtype == torch.float32 for weight in loaded.model.state_dict().values())
    samples = waveform_of(0, 1.0).samples
    torch.testing.assert_close(
        forward(loaded, samples), forward(bundle, samples), atol=0.05, rtol=0
    )
    save_bundle(loaded, tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tmp_path / "half" / WEIGHTS).read_bytes()
    assert not load_bundle(tmp_path / "whole").half


def test_weights_that_16_bits_cannot_hold_are_refused(bundle_of, tmp_path):
    bundle = bundle_of()
    with torch.no_grad():
        bundle.model.output.bias[0] = 1e6
    with pytest.raises(BundleError, match=r"output\.bias"):
        save_bundle(replace(bundle, half=True), tmp_path / "half")


def test_loaded_bundle_gives_identical_log_probs(bundle_of, waveform_of, tmp_path):
    bundle = bundle_of()
    save_bundle(bundle, tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    samples = waveform_of(1, 1.3).samples
    assert torch.equal(forward(loaded, samples), forward(bundle, samples))


def test_all_parts_come_back(bundle_of, tmp_path):
    bundle = bundle_of(name="beam", beam_width=5, nbest=2)
    save_bundle(bundle, tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    assert loaded.extractor.config == bundle.extractor.config
    assert loaded.model.config == bundle.model.config
    assert loaded.tokenizer.tokens == bundle.tokenizer.tokens
    assert loaded.decoder == bundle.decoder
    assert (loaded.name, loaded.metadata) == (bundle.name, bundle.metadata)
    assert not loaded.model.training
    assert not loaded.extractor.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())


def test_a_bundle_whose_metadata_are_called_facts_is_read(bundle_of, tmp_path):
    save_bundle(bundle_of(), tmp_path / "b")
    edit_config(tmp_path / "b", lambda config: config.update(facts=config.pop("metadata")))
    assert load_bundle(tmp_path / "b").metadata == bundle_of().metadata


def test_global_statistics_travel(bundle_of, waveform_of, tmp_path):
    extractor = FeatureExtractor(
        FeatureConfig(kind="fbank", num_mels=13, stack=2, subsample=2, normalisation="global")
    )
    with torch.no_grad():
        extractor.mean.fill_(-3.0)
        extractor.inv_std.fill_(0.25)
    bundle = replace(bundle_of(), extractor=extractor.eval())
    save_bundle(bundle, tmp_path / "b")
    samples = waveform_of(2, 0.8).samples
    assert torch.equal(forward(load_bundle(tmp_path / "b"), samples), forward(bundle, samples))


def test_the_kernel_is_chosen_where_the_bundle_runs(bundle_of, tmp_path):
    bundle = bundle_of()
    config = bundle.model.config
    bundle.model.config = replace(config, network=replace(config.network, kernel="reference"))
    save_bundle(bundle, tmp_path / "b")
    assert load_bundle(tmp_path / "b").model.config.network.kernel == "auto"


def test_saving_leaves_the_training_model_as_it_was(bundle_of, tmp_path):
    bundle = bundle_of()
    bundle.model.train()
    save_bundle(bundle, tmp_path / "b")
    assert bundle.model.training


# Where it is written


def test_replaces_an_older_bundle(bundle_of, tmp_path):
    save_bundle(bundle_of(seed=1), tmp_path / "b")
    save_bundle(replace(bundle_of(seed=2), name="second"), tmp_path / "b")
    assert load_bundle(tmp_path / "b").name == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_writes_into_an_empty_folder(bundle_of, tmp_path):
    (tmp_path / "b").mkdir()
    save_bundle(bundle_of(), tmp_path / "b")
    load_bundle(tmp_path / "b")


def test_never_replaces_anything_else(bundle_of, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="other than a bundle"):
        save_bundle(bundle_of(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_bundle_with_strange_files_beside_is_not_deleted(path, bundle_of):
    (path / "notes.txt").write_text("keep me")
    with pytest.raises(BundleError, match="other than a bundle"):
        save_bundle(bundle_of(), path)
    assert (path / "notes.txt").exists()


@pytest.mark.parametrize("place", ["b", "other"])
def test_a_changed_bundle_keeps_the_card_licences_and_samples_beside_it(bundle_of, tmp_path, place):
    source = tmp_path / "b"
    save_bundle(bundle_of(), source)
    (source / "README.md").write_text("a card")
    (source / "samples").mkdir()
    (source / "samples" / "a.flac").write_bytes(b"fLaC")
    changed = replace(load_bundle(source), name="changed")
    (source / "elsewhere").symlink_to("nowhere")
    for _ in range(2):  # and again
        save_bundle(changed, tmp_path / place, changed_from=source)
    assert load_bundle(tmp_path / place).name == "changed"
    assert os.readlink(tmp_path / place / "elsewhere") == "nowhere"
    with pytest.raises(BundleError, match="within the bundle"):
        save_bundle(changed, source / "tuned", changed_from=source)
    for folder in {source, tmp_path / place}:
        assert (folder / "README.md").read_text() == "a card"
        assert (folder / "samples" / "a.flac").read_bytes() == b"fLaC"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match=r"with thesis\.txt in it"):
        save_bundle(changed, tmp_path / "thesis", changed_from=source)


def test_a_failed_save_leaves_the_old_bundle_and_no_litter(bundle_of, tmp_path):
    save_bundle(bundle_of(), tmp_path / "b")
    with pytest.raises(BundleError, match="not JSON"):
        save_bundle(replace(bundle_of(), metadata={"model": object()}), tmp_path / "b")
    assert load_bundle(tmp_path / "b").name == "tiny"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_a_place_that_cannot_be_written(bundle_of, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written") as caught:
        save_bundle(bundle_of(), tmp_path / "file" / "b")
    assert caught.value.remedy


# What cannot be saved


def test_nan_weights_are_refused_at_saving(bundle_of, tmp_path):
    bundle = bundle_of()
    with torch.no_grad():
        bundle.model.output.bias[3] = float("nan")
    with pytest.raises(BundleError, match=r"model\.output\.bias .*NaN.*checkpoint"):
        save_bundle(bundle, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_parts_that_do_not_fit_are_refused_at_saving(bundle_of, tmp_path):
    bundle = bundle_of()
    fewer = replace(bundle, tokenizer=Tokenizer(["<blank>", "a"], "characters"))
    with pytest.raises(BundleError, match=r"7 outputs.*has 2"):
        save_bundle(fewer, tmp_path / "b")
    wider = replace(bundle, extractor=FeatureExtractor(FeatureConfig(num_mels=20)))
    with pytest.raises(BundleError, match="features a frame"):
        save_bundle(wider, tmp_path / "b")


@pytest.mark.parametrize("metadata", [{"loss": float("nan")}, {"p": Path("x")}, {"s": {1, 2}}])
def test_metadata_must_be_json(bundle_of, tmp_path, metadata):
    with pytest.raises(BundleError, match="metadata"):
        save_bundle(replace(bundle_of(), metadata=metadata), tmp_path / "b")


# Damage

DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no folder": (shutil.rmtree, "", "no such bundle"),
    "no configuration": (lambda p: (p / CONFIG).unlink(), "", "no config.json"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "", "no model.safetensors"),
    "no tokens": (lambda p: (p / TOKENS).unlink(), "", "no tokens.txt"),
    "empty configuration": (lambda p: (p / CONFIG).write_bytes(b""), CONFIG, "not JSON"),
    "half a configuration": (
        lambda p: (p / CONFIG).write_bytes((p / CONFIG).read_bytes()[:400]),
        CONFIG,
        "not JSON",
    ),
    "binary configuration": (lambda p: (p / CONFIG).write_bytes(b"\xff\x00"), CONFIG, "not JSON"),
    "deeply nested configuration": (
        lambda p: (p / CONFIG).write_text("[" * 100_000),
        CONFIG,
        "",
    ),
    "configuration of another program": (
        lambda p: (p / CONFIG).write_text('{"model_type": "whisper"}'),
        CONFIG,
        "not a bundle's configuration",
    ),
    "a list": (lambda p: (p / CONFIG).write_text("[]"), CONFIG, "not a bundle's"),
    "newer format": (
        lambda p: edit_config(p, lambda c: c.update(format_version=99)),
        CONFIG,
        "format 99.*upgrade",
    ),
    "no format version": (
        lambda p: edit_config(p, lambda c: c.pop("format_version")),
        CONFIG,
        "format version",
    ),
    "missing key": (lambda p: edit_config(p, lambda c: c.pop("golden")), CONFIG, "'golden' is mis"),
    "unknown key": (lambda p: edit_config(p, lambda c: c.update(x=1)), CONFIG, "'x' is unknown"),
    "section of the wrong kind": (
        lambda p: edit_config(p, lambda c: c.update(model=[])),
        CONFIG,
        "'model' is not an object",
    ),
    "unknown feature option": (
        lambda p: edit_config(p, lambda c: c["features"].update(wavelets=3)),
        CONFIG,
        "wavelets",
    ),
    "impossible feature option": (
        lambda p: edit_config(p, lambda c: c["features"].update(num_mels=-1)),
        CONFIG,
        "features",
    ),
    "feature option of the wrong type": (
        lambda p: edit_config(p, lambda c: c["features"].update(sample_rate="many")),
        CONFIG,
        "features",
    ),
    "unknown model option": (
        lambda p: edit_config(p, lambda c: c["model"].update(attention=True)),
        CONFIG,
        "attention",
    ),
    "missing model option": (
        lambda p: edit_config(p, lambda c: c["model"].pop("input_size")),
        CONFIG,
        "model",
    ),
    "unknown decoder": (
        lambda p: edit_config(p, lambda c: c["decoder"].update(name="oracle")),
        CONFIG,
        "oracle",
    ),
    "model wider than its weights": (
        lambda p: edit_config(p, lambda c: c["model"].update(hidden_size=10**6)),
        WEIGHTS,
        "has shape",
    ),
    "model deeper than its weights": (
        lambda p: edit_config(p, lambda c: c["model"].update(num_layers=2)),
        WEIGHTS,
        "missing",
    ),
    "other features than the model's": (
        lambda p: edit_config(p, lambda c: c["features"].update(num_mels=20)),
        "",
        "features a frame",
    ),
    "empty weights": (lambda p: (p / WEIGHTS).write_bytes(b""), WEIGHTS, "damaged"),
    "half the weights": (
        lambda p: (p / WEIGHTS).write_bytes((p / WEIGHTS).read_bytes()[:-40]),
        WEIGHTS,
        "damaged",
    ),
    "a pickle for weights": (
        lambda p: torch.save({"model.output.bias": torch.zeros(7)}, p / WEIGHTS),
        WEIGHTS,
        "damaged",
    ),
    "missing weight": (
        lambda p: edit_weights(p, lambda w: w.pop("model.output.bias")),
        WEIGHTS,
        r"model\.output\.bias are missing",
    ),
    "unknown weight": (
        lambda p: edit_weights(p, lambda w: w.update(extra=torch.zeros(1))),
        WEIGHTS,
        "extra are unknown",
    ),
    "weight of another shape": (
        lambda p: edit_weights(p, lambda w: w.update({"model.output.bias": torch.zeros(9)})),
        WEIGHTS,
        r"model\.output\.bias has shape \(9,\)",
    ),
    "NaN weight": (
        lambda p: edit_weights(p, lambda w: w["model.output.weight"][2].fill_(float("nan"))),
        WEIGHTS,
        r"model\.output\.weight .*NaN",
    ),
    "complex weight": (
        lambda p: edit_weights(
            p, lambda w: w.update({"model.output.bias": w["model.output.bias"].to(torch.complex64)})
        ),
        WEIGHTS,
        "is of torch.complex64",
    ),
    "infinite weight": (
        lambda p: edit_weights(p, lambda w: w["model.output.bias"][:1].fill_(float("inf"))),
        WEIGHTS,
        "infinite",
    ),
    "changed weight": (
        lambda p: edit_weights(p, lambda w: w["model.output.bias"].add_(1e-6), honest=False),
        WEIGHTS,
        "SHA-256",
    ),
    "weights of another model": (
        lambda p: edit_weights(p, lambda w: w["model.output.weight"].neg_()),
        CONFIG,
        "model gives other values",
    ),
    "empty tokens": (lambda p: (p / TOKENS).write_bytes(b""), TOKENS, ""),
    "binary tokens": (lambda p: (p / TOKENS).write_bytes(b"\xff\xfe\x00"), TOKENS, ""),
    "a token too many": (
        lambda p: (p / TOKENS).write_text((p / TOKENS).read_text("utf-8") + "z\n", "utf-8"),
        "",
        "7 outputs.*has 8",
    ),
    "tokens in another order": (
        lambda p: (p / TOKENS).write_text(
            (p / TOKENS).read_text("utf-8").replace("a\nb\n", "b\na\n"), "utf-8"
        ),
        TOKENS,
        "SHA-256",
    ),
    "damaged check": (
        lambda p: edit_config(p, lambda c: c.update(golden={"frames": "many"})),
        CONFIG,
        "golden",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_names_the_file_and_the_remedy(path, damage):
    inflict, file, what = DAMAGE[damage]
    inflict(path)
    with pytest.raises(BundleError, match=f"(?s){what}") as caught:
        load_bundle(path)
    assert caught.value.where == str(path / file)
    assert caught.value.remedy
    assert str(path) not in caught.value.public_message()


def test_a_file_is_not_a_bundle(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.pt: this is a file"):
        load_bundle(tmp_path / "model.pt")


@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:99"])
def test_a_device_that_is_not_here(path, device):
    with pytest.raises(ConfigError, match="choose cpu"):
        load_bundle(path, device)


# The golden check


@pytest.mark.parametrize(
    "change", [{"preemphasis": 0.5}, {"low_hz": 300.0}, {"frame_length_ms": 32.0}]
)
def test_a_changed_front_end_is_noticed(path, change):
    """As if a newer program read the same options differently."""
    edit_config(path, lambda config: config["features"].update(change))
    with pytest.raises(BundleError, match="front end") as caught:
        load_bundle(path)
    assert "torch" in caught.value.remedy


def test_a_front_end_that_computes_otherwise_is_noticed(path, monkeypatch):
    honest = FeatureExtractor.forward
    monkeypatch.setattr(
        FeatureExtractor,
        "forward",
        lambda self, *args, **kw: (lambda f, n: (f + 2e-3, n))(*honest(self, *args, **kw)),
    )
    with pytest.raises(BundleError, match="front end gives other values"):
        load_bundle(path)


def test_another_processors_rounding_passes(path, monkeypatch):
    honest = FeatureExtractor.forward
    monkeypatch.setattr(
        FeatureExtractor,
        "forward",
        lambda self, *args, **kw: (lambda f, n: (f + 1e-5, n))(*honest(self, *args, **kw)),
    )
    load_bundle(path)


def test_a_model_that_gives_nan_is_noticed(bundle_of):
    bundle = bundle_of()
    golden = compute_golden(bundle.extractor, bundle.model)
    assert find_difference(golden, golden) is None
    with torch.no_grad():
        bundle.model.output.bias.fill_(float("nan"))
    assert "model" in str(find_difference(golden, compute_golden(bundle.extractor, bundle.model)))


def test_the_golden_waveform_is_the_same_everywhere():
    """Pinned values: changing the waveform would orphan every bundle there is."""
    samples = golden_waveform(16000)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert np.abs(samples).max() <= 1.0
    np.testing.assert_allclose(samples[[0, 1, 8000, 15999]], PINNED, atol=1e-6)


def test_the_golden_waveform_excites_every_band():
    spectrum = np.abs(np.fft.rfft(golden_waveform(16000).reshape(40, 400) * np.hanning(400))) ** 2
    assert spectrum.mean(axis=0)[1:].min() > 1e-3 * spectrum.mean(axis=0).max()


PINNED = [-0.052708894, -0.024885934, 0.020856019, 0.029890977]


def test_no_pickle_is_ever_read(path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    load_bundle(path)


def test_a_bundle_without_a_name_is_not_the_folder_that_one_is_in():
    with pytest.raises(BundleError, match="name of the bundle is empty"):
        load_bundle("")


@pytest.mark.parametrize("stack", [1, 2, 3])
@pytest.mark.parametrize("front", [None, FrontOptions([4, 4], [2, 2])])
@pytest.mark.parametrize("reductions", [(), (2, 1), (2, 2)])
def test_a_frames_lag_leads_to_the_centre_of_what_it_reads(stack, front, reductions):
    """By the samples that a frame changes with, before recurrent layers carry them on."""
    config = FeatureConfig(num_mels=13, stack=stack, subsample=stack, normalisation="none")
    extractor = FeatureExtractor(config)
    network = NetworkConfig(8, 3, front=front, reductions=reductions)
    model = AcousticModel(AcousticModelConfig(config.size, 3, network))
    bundle = Bundle(extractor, model, Tokenizer(["<blank>", "a", "b"]), GreedyOptions(), "lag")
    torch.manual_seed(0)
    samples = torch.randn(1, 32_000, requires_grad=True)
    x, lengths = extractor(samples, torch.tensor([32_000]))
    if model.front is not None:
        x, lengths = model.front(x, lengths)
    for factor in reductions:
        x, lengths = join_frames(x, lengths, factor)
    frame = x.shape[1] // 2
    (gradient,) = torch.autograd.grad(x[0, frame].square().sum(), samples)
    heard = gradient[0].nonzero()
    centre = (heard.min() + heard.max() + 1).item() / 2 / 16_000
    middle = (frame + 0.5) * bundle.seconds_per_frame
    assert centre - middle == pytest.approx(bundle.frame_lag, abs=1e-4)
