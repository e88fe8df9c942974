"""Every option of Lightning's trainer works, or is refused in one line. None is dropped."""

import inspect

import pytest
import pytorch_lightning as pl
import torch
import yaml

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*"),  # advice of Lightning's on the options' values
]

# One option a row, with a value that works and one that cannot (None: there is none).
OPTIONS = {
    "accelerator": ("cpu", "gpu"),
    "strategy": ("auto", "fsdp"),
    "devices": ("1", "none"),
    "num_nodes": ("1", "0"),
    "precision": ("bf16-mixed", "bf16-true"),
    "logger": ("false", "nothing"),
    "callbacks": ("ModelSummary", "nothing"),
    "fast_dev_run": ("true", "-1"),
    "max_epochs": ("1", "0"),
    "min_epochs": ("1", "-1"),
    "max_steps": ("1", "0"),
    "min_steps": ("1", "-1"),
    "max_time": ("00:00:00:05", "soon"),
    "limit_train_batches": ("0.5", "0"),
    "limit_val_batches": ("0.5", "0"),
    "limit_test_batches": (None, "1"),
    "limit_predict_batches": (None, "1"),
    "overfit_batches": ("0.0", "1"),
    "val_check_interval": ("0.5", "1000"),
    "check_val_every_n_epoch": ("1", "7"),
    "num_sanity_val_steps": ("1", "-2"),
    "log_every_n_steps": ("2", "-1"),
    "enable_checkpointing": ("true", "false"),
    "enable_progress_bar": ("true", "perhaps"),
    "enable_model_summary": ("true", "perhaps"),
    "accumulate_grad_batches": ("2", "0"),
    "gradient_clip_val": ("0.5", "-1"),
    "gradient_clip_algorithm": ("value", "nothing"),
    "deterministic": ("true", "perhaps"),
    "benchmark": ("true", "perhaps"),
    "inference_mode": ("false", "perhaps"),
    "use_distributed_sampler": ("true", "false"),
    "profiler": ("simple", "xla"),
    "detect_anomaly": ("true", "perhaps"),
    "barebones": ("false", "true"),
    "plugins": (None, "TorchCheckpointIO"),
    "sync_batchnorm": ("true", "perhaps"),
    "reload_dataloaders_every_n_epochs": ("1", "-1"),
    "default_root_dir": (None, "elsewhere"),
    "enable_autolog_hparams": ("false", "perhaps"),
    "model_registry": (None, "somewhere"),
}


def test_no_option_is_forgotten():
    assert set(OPTIONS) == set(inspect.signature(pl.Trainer).parameters)


def attempt(toy, data, run, capsys, *options):
    """Train for an epoch; returns the exit code, output and errors."""
    capsys.readouterr()
    code = toy.fit(data, run, "--trainer.max_epochs", "1", *options)
    return code, *capsys.readouterr()


def refused(error):
    return error.startswith("error: ") and error.count("\n") == 1


# A run each; what is not named has one together.
APART = [
    ["fast_dev_run"],
    ["max_steps", "logger"],
    ["max_time", "val_check_interval", "precision"],
    ["limit_train_batches", "limit_val_batches", "callbacks", "enable_progress_bar"],
]
TOGETHER = [
    name
    for name, values in OPTIONS.items()
    if values[0] and not any(name in names for names in APART)
]


@pytest.mark.parametrize("names", [*APART, TOGETHER], ids=lambda names: names[0])
def test_it_works_and_the_configuration_says_so(toy, toy_data, tmp_path, capsys, names):
    run = tmp_path / "run"
    options = [part for name in names for part in (f"--trainer.{name}", OPTIONS[name][0])]
    try:
        code, _, error = attempt(toy, toy_data, run, capsys, *options)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
    assert code == 0, error
    if names == ["fast_dev_run"]:
        assert not (run / "checkpoints").exists()
        return
    checkpoints = {path.name for path in (run / "checkpoints").iterdir()}
    assert checkpoints == {"best.ckpt", "last.ckpt"}
    said = yaml.safe_load((run / "config.yaml").read_text())["trainer"]
    for name in set(names) & set(said) - {"callbacks", "max_time"}:
        assert str(said[name]).lower() == OPTIONS[name][0]


def test_what_was_dropped_takes_effect(toy, toy_data, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--trainer.profiler", "simple", "--trainer.logger", "CSVLogger"]
    options += ["--trainer.logger.save_dir", str(tmp_path / "csv")]
    options += ["--trainer.callbacks", "LambdaCallback", "--trainer.num_sanity_val_steps", "1"]
    code, _, error = attempt(toy, toy_data, run, capsys, *options)
    assert code == 0, error
    assert "run_training_epoch" in (run / "fit-profile.txt").read_text()
    assert "sanity" in (run / "fit-profile.txt").read_text().lower()
    assert list((tmp_path / "csv").rglob("metrics.csv"))
    assert not (run / "tensorboard").exists()


@pytest.mark.parametrize(
    "optimizer",
    [["Rprop"], ["LBFGS", "--optimizer.max_iter", "2"], ["SGD", "--optimizer.lr", "0.01"]],
    ids=" ".join,
)
def test_an_optimiser_without_weight_decay_trains(toy, toy_data, tmp_path, capsys, optimizer):
    code, _, error = attempt(toy, toy_data, tmp_path / "run", capsys, "--optimizer", *optimizer)
    assert code == 0, error


@pytest.mark.parametrize("name", OPTIONS)
def test_what_cannot_work_is_refused_in_one_line(toy, toy_data, tmp_path, capsys, name):
    if name == "accelerator" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = tmp_path / "run"
    code, _, error = attempt(toy, toy_data, run, capsys, f"--trainer.{name}", OPTIONS[name][1])
    assert code == 2
    assert refused(error), error
    what = {"accelerator": "gpu", "max_time": "duration"}.get(name, name)
    assert what in error
    assert not run.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.max_epochs", "-1"],
        ["--trainer.max_epochs", "null"],
        ["--trainer.max_epochs", "null", "--trainer.max_time", "00:00:00:05"],
        ["--trainer.limit_train_batches", "0.001"],
        ["--trainer.limit_val_batches", "0.001"],
        ["--trainer.limit_train_batches", "0.0"],
        ["--trainer.val_check_interval", "0"],
        ["--trainer.val_check_interval", "00:00:10:00"],
        ["--trainer.limit_train_batches", "2", "--trainer.val_check_interval", "3"],
        ["--trainer.check_val_every_n_epoch", "null"],
        ["--trainer.precision", "64-true"],
        ["--trainer.nonsense", "1"],
        ["--model.learning_rate", "-1"],
        ["--model.learning_rate", ".nan"],
        ["--model.weight_decay", "-1"],
        ["--model.schedule.warmup_steps", "-1"],
        ["--model.schedule.final_fraction", "2"],
        ["--model.dropout", "1.5"],
        ["--data.batch_size", "0"],
        ["--data.batch_seconds", "0"],
        ["--data.num_buckets", "0"],
        ["--data.num_workers", "-1"],
        ["--data.speed_factors", "[0.0]"],
        ["--patience", "0"],
        ["--checkpoint_steps", "-1"],
        ["--checkpoint_minutes", ".nan"],
        ["--monitor", "accuracy"],
        ["--average", "last"],
        ["--new_statistics", "true"],
        ["--model.schedule.kind", "sine"],
        ["--model.objective.normalisation", "per_frame"],
        ["--seed_everything", "chance"],
        ["--seed_everything", "-1"],
        ["--seed_everything", "4294967296"],
        ["--model.objective.intermediate", "[1]"],  # there is one layer
        ["--model.network.cell", "torch-lstm", "--model.dual_mode.probability", "0.1"],
        ["--lr_scheduler", "ExponentialLR", "--lr_scheduler.gamma", "0.9"],
    ],
    ids=" ".join,
)
def test_combinations_and_values_that_cannot_work_are_refused(
    toy, toy_data, tmp_path, capsys, options
):
    code, _, error = attempt(toy, toy_data, tmp_path / "run", capsys, *options)
    assert code == 2
    assert refused(error), error
    assert not (tmp_path / "run").exists()
