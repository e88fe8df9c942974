"""What regularises CTC, and the average of the weights, in training."""

import pytest
import torch

from asr.bundle.streaming import Streaming
from asr.features import FeatureConfig
from asr.nn.front import FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.types import ConfigError
from recipes.common.callbacks import MovingAverage
from recipes.common.export import bundle_from_checkpoint
from recipes.common.module import SpeechModule
from recipes.common.objective import DualMode, ObjectiveOptions

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
]

TWO_LAYERS = ["--model.network.num_layers", "2"]
MASKS = ["--model.spec_augment.freq_masks", "1"]


def network(**options):
    return NetworkConfig(hidden_size=6, **options)


@pytest.mark.parametrize(
    "shape", [{}, {"reductions": (2, 1)}, {"front": FrontOptions((2,), (2,))}, {"dropout": 0.5}]
)
def test_a_lower_layers_output_is_that_of_a_stack_that_ends_there(shape):
    torch.manual_seed(0)
    whole = AcousticModel(AcousticModelConfig(5, 4, network(num_layers=3, **shape))).eval()
    shape.pop("reductions", None)
    lower = AcousticModel(AcousticModelConfig(5, 4, network(num_layers=1, **shape))).eval()
    weights = {
        name.replace("stacks.0.", ""): value
        for name, value in whole.state_dict().items()
        if (".layers.0." in name.replace("stacks.0.", "") and "stacks.1" not in name)
        or not name.startswith("recurrent")
    }
    lower.load_state_dict(weights)
    features, lengths = torch.randn(2, 9, 5), torch.tensor([9, 4])
    (found, found_lengths), last = whole.with_intermediate(features, lengths, [1])
    expected = lower(features, lengths)
    assert torch.equal(found_lengths, lower.num_frames(lengths))
    torch.testing.assert_close(last[0], whole(features, lengths))
    for b, frames in enumerate(found_lengths):
        torch.testing.assert_close(found[b, :frames], expected[b, :frames])


@pytest.mark.parametrize("layer", [0, 3, 4])
def test_only_layers_below_the_last_are_intermediate(layer):
    model = AcousticModel(AcousticModelConfig(5, 4, network(num_layers=3)))
    with pytest.raises(ConfigError, match="layers from 1 to 2"):
        model.with_intermediate(torch.randn(1, 3, 5), torch.tensor([3]), [layer])


@pytest.mark.parametrize(
    "options",
    [
        {"consistency": -0.1},
        {"consistency": float("nan")},
        {"intermediate": (1, 1)},
        {"intermediate_weight": 1.0},
    ],
)
def test_terms_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        ObjectiveOptions(**options)


def test_both_terms_train_the_toy(toy, toy_data, tmp_path, capsys):
    options = [*TWO_LAYERS, *MASKS, "--model.objective.consistency", "0.2"]
    options += ["--model.objective.intermediate", "[1]", "--trainer.max_epochs", "40"]
    assert toy.fit(toy_data, tmp_path / "run", *options, "--patience", "40") == 0
    assert "WER 0.00 %" in capsys.readouterr().out


def test_consistency_without_masks_is_refused(toy, toy_data, tmp_path, capsys):
    assert toy.fit(toy_data, tmp_path / "run", "--model.objective.consistency", "0.2") == 2
    assert "give spec_augment" in capsys.readouterr().err


@pytest.mark.parametrize("decay", ["1", "-0.5", "2"])
def test_a_decay_out_of_range_is_refused(toy, toy_data, tmp_path, capsys, decay):
    assert toy.fit(toy_data, tmp_path / "run", "--ema", decay) == 2
    assert "decay" in capsys.readouterr().err


def test_checkpoints_hold_the_average_of_all_steps_and_resume_with_it(
    toy, toy_data, tmp_path, monkeypatch
):
    """Against a plain mean that is kept beside the run, and a run that was not interrupted."""
    seen = []
    after = MovingAverage.on_train_batch_end

    def record(self, trainer, module, *rest):
        after(self, trainer, module, *rest)
        seen.append(module.model.output.weight.detach().double().clone())

    options = ["--ema", "0.9", "--trainer.max_epochs"]
    with monkeypatch.context() as patch:
        patch.setattr(MovingAverage, "on_train_batch_end", record)
        assert toy.fit(toy_data, tmp_path / "whole", *options, "2") == 0
    expected = seen[0]
    for n, weight in enumerate(seen[1:], start=1):
        kept = min(0.9, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * weight
    whole = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(
        whole["state_dict"]["model.output.weight"].double(), expected, rtol=1e-5, atol=1e-6
    )
    parts = tmp_path / "parts"
    assert toy.fit(toy_data, parts, *options, "1") == 0
    assert toy.fit(toy_data, parts, *options, "2", "--resume", "true") == 0
    found = torch.load(parts / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("state_dict", "current_model_state"):
        for name, value in whole[key].items():
            assert torch.equal(found[key][name], value), name


def test_both_ways_of_reading_are_drawn_within_their_ranges():
    torch.manual_seed(0)
    mode = DualMode(0.25, (200, 400), (0, 100))
    drawn = [mode.draw(0.04) for _ in range(800)]
    chunked = [each for each in drawn if each is not None]
    assert 0.2 < len(chunked) / len(drawn) < 0.3
    assert {each.frames for each in chunked} == set(range(5, 11))
    assert {each.look_ahead for each in chunked} == {0, 1, 2}


@pytest.mark.parametrize(
    "values",
    [
        {"probability": 1.5},
        {"chunk_ms": (400, 200)},
        {"look_ahead_ms": (-1, 200)},
        {"look_ahead_ms": (0, float("inf"))},
    ],
)
def test_impossible_ranges_are_refused(values):
    with pytest.raises(ConfigError):
        DualMode(**values)


def test_a_run_in_both_modes_goes_on_as_one_never_stopped(toy, toy_data, tmp_path):
    options = ["--model.dual_mode.chunk_ms", "[60, 200]", "--model.dual_mode.look_ahead_ms"]
    options += ["[0, 60]", *TWO_LAYERS, "--trainer.max_epochs"]
    assert toy.fit(toy_data, tmp_path / "whole", *options, "2") == 0
    assert toy.fit(toy_data, tmp_path / "parts", *options, "1") == 0
    assert toy.fit(toy_data, tmp_path / "parts", *options, "2", "--resume", "true") == 0
    whole, parts = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "parts")
    )
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


@pytest.mark.parametrize(
    ("dual_mode", "streaming"),
    [
        (DualMode(0.5, (200, 400), (100, 300)), Streaming((200, 400), (100, 300))),
        (DualMode(0.0), None),
        (None, None),
    ],
)
def test_a_bundle_says_what_chunks_its_model_was_trained_with(tmp_path, dual_mode, streaming):
    options = FeatureConfig(num_mels=5), network(num_layers=1)
    module = SpeechModule(["<blank>", "a"], "characters", [], *options, dual_mode=dual_mode)
    state = {"state_dict": module.state_dict(), "epoch": 0, "global_step": 1}
    module.on_save_checkpoint(state)
    torch.save(state, tmp_path / "model.ckpt")
    assert bundle_from_checkpoint(tmp_path / "model.ckpt", "dual").streaming == streaming
