"""Training that begins from a model: what is taken over, what is made anew, what stays frozen."""

import os
import shutil

import pytest
import torch
import yaml

from asr.bundle import load_bundle
from asr.nn.front import FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.types import ConfigError
from recipes.common.cli import main, prepare
from recipes.common.manifests import Utterance
from recipes.common.metric import WER
from recipes.common.module import SpeechModule
from recipes.common.recipe import Recipe
from recipes.common.start import Start, freeze

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

EPOCHS = ["--trainer.max_epochs", "2"]


@pytest.fixture(scope="module")
def trained(toy, toy_data, tmp_path_factory):
    """A run of two layers with global statistics, and its bundle beside it."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["--model.network.num_layers", "2", "--model.features.normalisation", "global"]
    assert toy.fit(toy_data, folder / "run", *options, "--trainer.max_epochs", "12") == 0
    where = ["--run", str(folder / "run"), "--output", str(folder / "bundle")]
    assert main(toy.recipe(), ["export", *where]) == 0
    return folder


@pytest.fixture
def bundle(trained):
    return load_bundle(trained / "bundle")


def begin(toy, data, run, init, *options):
    """``fit --init`` with nothing said of the network; returns the exit code."""
    quiet = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    plain = ["--model.network.dropout", "0", "--model.spec_augment", "null", "--ema", "0"]
    plain += ["--model.objective.consistency", "0", "--model.objective.intermediate", "[]"]
    plain += ["--data.augment", "null"]
    options = [*toy.where(data, run), *quiet, *plain, *options]
    return main(toy.recipe(), ["fit", "--init", str(init), *options])


def weights(run, name="last"):
    path = run / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def module_of(bundle, tokens, kind="characters", **network):
    config = bundle.model.config.network
    shape = NetworkConfig(**{**vars(config), **network})
    return SpeechModule(tokens, kind, [], bundle.extractor.config, shape)


# The rows of the output layer.


@pytest.mark.parametrize("tokens", ["cab", "ab", "bca", "zyx", "a"])
def test_shared_tokens_keep_their_odds_whatever_their_order(bundle, tokens):
    module = module_of(bundle, ["<blank>", *tokens]).eval()
    said = Start(bundle, "here").put_into(module)
    features, lengths = torch.randn(2, 30, bundle.extractor.config.size), torch.tensor([30, 20])
    before, now = bundle.model(features, lengths), module.model(features, lengths)
    shared = ["<blank>", *(t for t in tokens if t in bundle.tokenizer.tokens)]
    for t in shared[1:]:
        odds = now[..., module.tokenizer.tokens.index(t)] - now[..., 0]
        expected = before[..., bundle.tokenizer.tokens.index(t)] - before[..., 0]
        torch.testing.assert_close(odds, expected)
    assert f"knows {len(shared)} of the {len(tokens) + 1} tokens" in said
    for t in set(tokens) - set(shared):
        assert t in said.split("new are ")[1]


def test_of_other_kinds_of_tokens_the_blank_alone_is_shared(bundle):
    module = module_of(bundle, ["<blank>", "a", "b"], "phones")
    drawn = module.model.output.weight.detach().clone()
    assert "knows 1 of the 3 tokens" in Start(bundle, "here").put_into(module)
    assert torch.equal(module.model.output.weight[1:], drawn[1:])
    assert torch.equal(module.model.output.weight[0], bundle.model.output.weight[0])


# Through the command.


@pytest.mark.parametrize("what", ["bundle", "run", "run/checkpoints/best.ckpt"])
def test_it_begins_with_what_the_model_knows(toy, toy_data, trained, tmp_path, what):
    """Without a step worth the name, weights, statistics and error rate are the model's."""
    still = ["--model.learning_rate", "1e-30", "--model.weight_decay", "0"]
    assert begin(toy, toy_data, tmp_path / "run", trained / what, *still, *EPOCHS) == 0
    before = weights(trained / "run", "best")
    for name, value in weights(tmp_path / "run").items():
        torch.testing.assert_close(value, before[name], atol=1e-20, rtol=1e-6)
    assert best(tmp_path / "run") == best(trained / "run")
    said = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert said["model"]["network"]["num_layers"] == 2
    assert said["model"]["features"]["normalisation"] == "global"
    assert said["init"].startswith(str(trained / what))


def test_new_letters_are_learned_faster_than_from_nothing(toy, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(toy.HERTZ, "c", 3000.0)
    drawn = toy.utterances

    def utterances(corpus, split):
        swap = str.maketrans("ab", "ca")
        found = []
        for u in drawn(corpus, split):
            found.append(u)
            text = u.text.translate(swap)
            path = corpus / f"{u.id}c.wav"
            toy.write_wav(
                path, toy.Waveform(toy.spoken(text, toy.np.random.default_rng(0)), toy.RATE)
            )
            found.append(Utterance(path.stem, path, text, u.speaker))
        return sorted(found, key=lambda u: u.id)

    data = tmp_path / "data"
    prepare(toy.recipe(utterances), tmp_path / "corpus", data)
    learn = [
        "--model.learning_rate",
        "0.005",
        "--trainer.max_epochs",
        "6",
        "--model.schedule.warmup_steps",
        "1",
    ]
    assert begin(toy, data, tmp_path / "tuned", trained / "bundle", *learn) == 0
    shape = ["--model.network.num_layers", "2", "--model.features.normalisation", "global"]
    assert toy.fit(data, tmp_path / "fresh", *shape, *learn) == 0
    losses = [best(tmp_path / name) for name in ("tuned", "fresh")]
    assert losses[0] < losses[1]


def best(run):
    callbacks = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    return next(float(c["best_model_score"]) for c in callbacks.values() if c.get("monitor"))


def test_statistics_are_the_models_unless_asked_for_anew(toy, toy_data, trained, tmp_path, bundle):
    train = ["--trainer.max_epochs", "1"]
    louder = shutil.copytree(toy_data, tmp_path / "data")
    recipe = toy.recipe(lambda corpus, split: toy.utterances(corpus, split)[:4])
    prepare(recipe, tmp_path / "corpus", louder)
    assert begin(toy, louder, tmp_path / "kept", trained / "bundle", *train) == 0
    anew = ["--new_statistics", "true"]
    assert begin(toy, louder, tmp_path / "anew", trained / "bundle", *train, *anew) == 0
    kept, new = (weights(tmp_path / name)["extractor.mean"] for name in ("kept", "anew"))
    assert torch.equal(kept, bundle.extractor.mean)
    assert not torch.equal(new, bundle.extractor.mean)
    other = ["--model.features.normalisation", "utterance"]
    assert begin(toy, louder, tmp_path / "other", trained / "bundle", *train, *other) == 0
    other += ["--model.features.silence_db", "30"]
    assert begin(toy, louder, tmp_path / "speech", trained / "bundle", *train, *other) == 0
    assert not torch.equal(weights(tmp_path / "speech")["extractor.mean"], bundle.extractor.mean)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.features.num_mels", "20"], "num_mels 40, now 20"),
        (["--model.network.cell", "lstm"], "cell peephole, now lstm"),
        (["--model.network.hidden_size", "8"], "hidden_size 16, now 8"),
        (["--model.network.num_layers", "3"], "num_layers 2, now 3"),
        (["--model.features.sample_rate", "8000"], "sample_rate 16000, now 8000"),
        (["--init", "nowhere"], "no such model to begin from"),
        (["--init", "best"], "no trained model here"),
        (["--init", __file__], "not a readable checkpoint"),
        (["--freeze", "3"], "there are 2 recurrent layers"),
        (["--freeze", "-1"], "there are 2 recurrent layers"),
        (["--freeze", "[recurrent.layers.7]"], "no weight is called 'recurrent.layers.7'"),
        (["--freeze", "[recurrent, output]"], "nothing to train"),
    ],
    ids=" ".join,
)
def test_what_does_not_fit_is_refused_in_a_line(
    toy, toy_data, trained, tmp_path, capsys, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    assert begin(toy, toy_data, tmp_path / "run", trained / "bundle", *EPOCHS, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_is_damaged_is_named(toy, toy_data, trained, tmp_path, capsys):
    broken = shutil.copytree(trained / "bundle", tmp_path / "bundle")
    (broken / "tokens.txt").write_text("rubbish")
    assert begin(toy, toy_data, tmp_path / "run", broken) == 2
    assert "tokens.txt" in capsys.readouterr().err


def test_a_second_phase_begins_afresh_from_the_best(toy, toy_data, tmp_path, monkeypatch):
    """As Graves et al. (2013) train: weight noise from the point where the first phase was best."""
    monkeypatch.chdir(tmp_path)
    first = toy.recipe().paths.run
    assert toy.fit(toy_data, first, "--trainer.max_epochs", "3") == 0
    noise = ["--model.network.weight_noise", "0.075", "--trainer.max_epochs", "1"]
    still = ["--model.learning_rate", "1e-30", "--model.weight_decay", "0"]
    assert begin(toy, toy_data, tmp_path / "second", "best", *noise, *still) == 0
    second = torch.load(tmp_path / "second" / "checkpoints" / "last.ckpt", weights_only=True)
    assert second["epoch"] == 0
    before = weights(first, "best")
    for name, value in second["state_dict"].items():
        torch.testing.assert_close(value, before[name], atol=1e-20, rtol=1e-6)
    steps = {float(s["step"]) for s in second["optimizer_states"][0]["state"].values()}
    assert steps == {second["global_step"]}


def test_a_run_that_began_so_goes_on_without_the_model(toy, toy_data, trained, tmp_path):
    """Frozen layers stay frozen, and all is as if nothing had been interrupted."""
    gone = shutil.copytree(trained / "bundle", tmp_path / "gone")
    how = ["--freeze", "1", "--trainer.max_epochs"]
    assert begin(toy, toy_data, tmp_path / "whole", gone, *how, "2") == 0
    assert (
        begin(
            toy, toy_data, tmp_path / "parts", gone, *how, "2", "--trainer.limit_val_batches", "1"
        )
        == 0
    )
    before = weights(tmp_path / "parts")
    shutil.rmtree(gone)
    resume = ["fit", "--run_dir", str(tmp_path / "parts"), "--resume", "true"]
    assert main(toy.recipe(), [*resume, "--trainer.max_epochs", "4"]) == 0
    start, after = weights(trained / "run", "best"), weights(tmp_path / "parts")
    for name, value in after.items():
        frozen = ".layers.0." in name or name.startswith("extractor")
        assert torch.equal(value, start[name]) == frozen, name
        assert torch.equal(value, before[name]) == frozen, name
    assert main(toy.recipe(), [*resume, "--init", str(trained / "bundle")]) == 2


@pytest.mark.parametrize("what", ["bundle", "run", "run/checkpoints/best.ckpt"])
def test_the_command_that_began_a_run_goes_on_with_it(toy, toy_data, trained, tmp_path, what):
    run, init = tmp_path / "run", os.path.relpath(trained / what)
    assert begin(toy, toy_data, run, init, "--trainer.max_epochs", "1") == 0
    on = ["--trainer.max_epochs", "2", "--resume", "true"]
    assert begin(toy, toy_data, run, init, *on) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert begin(toy, toy_data, run, trained, *on) == 2  # which is another name


# What is frozen.


def model_of(**options):
    return AcousticModel(AcousticModelConfig(8, 4, NetworkConfig(6, 3, **options)))


def frozen(model):
    return {name for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"cell": "torch-lstm"},
        {"reductions": (2, 1)},
        {"front": FrontOptions((2,), (2,))},
        {"proj_size": 3},
    ],
)
def test_the_lowest_layers_and_all_below_are_frozen_and_nothing_else(shape):
    model = model_of(**shape)
    freeze(model, 2)
    features, lengths = torch.randn(2, 12, 8), torch.tensor([12, 9])
    model(features, lengths).square().sum().backward()
    names = [name for name, _ in model.named_parameters()]
    trained = [name for name in names if name not in frozen(model)]
    assert all(p.grad is None for name, p in model.named_parameters() if name not in trained)
    assert all(model.get_parameter(name).grad is not None for name in trained)
    layers = {name.split("weight")[0].split("bias")[0] for name in trained}
    assert {"output."} < layers
    assert names.index(trained[0]) == len(frozen(model))  # a lower part, and the whole of it
    per_layer = [n for n in names if "weight_ih" in n]
    assert len([n for n in per_layer if n in trained]) == len(per_layer) // 3


def test_names_freeze_what_they_begin():
    model = model_of()
    assert freeze(model, 0) is None
    assert "of" in freeze(model, ["output", "recurrent.layers.1.weight_hh"])
    assert frozen(model) == {"output.weight", "output.bias", "recurrent.layers.1.weight_hh"}
    with pytest.raises(ConfigError, match=r"recurrent\.layers\.1\.weight'"):
        freeze(model, ["recurrent.layers.1.weight"])


# Real speech.

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()


def digits(folder, speakers, takes):
    """Utterances of the Free Spoken Digit Dataset."""
    names = [(d, s, t) for s in speakers for d in range(10) for t in takes]
    return [
        Utterance(f"{d}_{s}_{t}", folder / f"{d}_{s}_{t}.flac", DIGITS[d], f"{s}-{t}")
        for d, s, t in names
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_minutes_of_a_new_speaker_improve_on_the_model_they_began_from(
    shared_data, tmp_path, capsys
):
    """Three speakers make the model, three minutes of a fourth tune it, others of his judge it."""
    fsdd = shared_data("fsdd")

    def recipe(speakers, train, dev, judge):
        def read(_, split):
            return digits(fsdd, speakers, train) if split == "train" else digits(fsdd, judge, dev)

        return Recipe("an4", "digits", read, "characters", WER)

    others, new = ("jackson", "nicolas", "yweweler"), ("george",)
    quick = ["--trainer.enable_progress_bar", "false", "--model.network.dropout", "0.1"]
    quick += ["--model.spec_augment", "null", "--model.schedule.warmup_steps", "30"]
    quick += ["--model.objective.consistency", "0", "--ema", "0", "--data.augment", "null"]
    small = ["--model.network.hidden_size", "64", "--model.network.num_layers", "2"]
    rate = ["--model.features.sample_rate", "8000", "--model.learning_rate", "5e-3"]
    first = recipe(others, range(5, 20), range(5), others)
    prepare(first, tmp_path, tmp_path / "data")
    where = ["--data.data_dir", str(tmp_path / "data"), "--run_dir", str(tmp_path / "run")]
    assert main(first, ["fit", *where, *quick, *small, *rate, "--trainer.max_epochs", "12"]) == 0
    export = ["export", "--run", str(tmp_path / "run"), "--output", str(tmp_path / "bundle")]
    assert main(first, export) == 0
    second = recipe(new, range(10, 50), range(10), new)
    prepare(second, tmp_path, tmp_path / "new")
    where = ["--data.data_dir", str(tmp_path / "new"), "--run_dir", str(tmp_path / "tuned")]
    still = ["--model.learning_rate", "1e-30", "--trainer.max_epochs", "1"]
    tune = ["--model.learning_rate", "1e-3", "--trainer.max_epochs", "4"]
    init = ["--init", str(tmp_path / "bundle"), *quick]
    assert main(second, ["fit", *where[:-1], str(tmp_path / "still"), *init, *still]) == 0
    assert main(second, ["fit", *where, *init, *tune]) == 0
    before, after = best(tmp_path / "still"), best(tmp_path / "tuned")
    print(f"word error rate of a new speaker: {100 * before:.1f} %, tuned {100 * after:.1f} %")
    assert after < 0.8 * before
