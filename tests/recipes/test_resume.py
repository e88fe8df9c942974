"""An interrupted run goes on as if nothing had happened."""

import itertools
import shutil
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch
import yaml

from recipes.common.cli import main
from recipes.common.module import SpeechModule

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*"),
]

# All that is drawn by chance in training.
CHANCE = [
    *("--data.speed_factors", "[0.8, 0.9, 1.1, 1.2]", "--data.batch_size", "4"),
    *(
        "--model.network.dropout",
        "0.3",
        "--model.network.input_noise",
        "0.1",
        "--model.network.weight_noise",
        "0.01",
    ),
    *("--model.spec_augment.freq_masks", "1"),
]
RESUME = ["--resume", "true"]


@pytest.fixture(scope="module")
def whole(toy, toy_data, tmp_path_factory):
    """A run of three epochs that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        record_batches(patch, seen)
        assert toy.fit(toy_data, run, *CHANCE, *epochs(3)) == 0
    return run, seen


def record_batches(monkeypatch, seen):
    """Note epoch, utterances and lengths of every training batch."""
    step = SpeechModule.training_step

    def recorded(self, batch, batch_idx):
        seen.append((self.trainer.current_epoch, list(batch.ids), batch.lengths.tolist()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SpeechModule, "training_step", recorded)


@pytest.fixture
def batches(monkeypatch):
    """Utterances and lengths of every training batch, in order."""
    seen = []
    record_batches(monkeypatch, seen)
    return seen


def epochs(number):
    return ["--trainer.max_epochs", str(number)]


def state(run):
    """Weights, the optimiser's moments and the learning rate of a run's last checkpoint."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    moments = checkpoint["optimizer_states"][0]["state"]
    rates = [group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
    named = {f"{n}.{key}": value for n, parts in moments.items() for key, value in parts.items()}
    return {**checkpoint["state_dict"], **named}, rates


def interrupt(monkeypatch, *, epoch, step=0):
    """Ctrl-C before a step of an epoch, the first time."""
    at = pl.LightningModule.on_train_batch_start

    def hook(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (epoch, step):
            monkeypatch.setattr(SpeechModule, "on_train_batch_start", at)
            raise KeyboardInterrupt

    monkeypatch.setattr(SpeechModule, "on_train_batch_start", hook)


def test_each_epoch_of_resumed_runs_is_that_of_one_run(toy, toy_data, tmp_path, batches, whole):
    run = tmp_path / "parts"
    assert toy.fit(toy_data, run, *CHANCE, *epochs(1)) == 0
    assert toy.fit(toy_data, run, *CHANCE, *epochs(2), *RESUME) == 0
    workers = ["--data.num_workers", "1"]  # they ask for batches before the first step
    assert toy.fit(toy_data, run, *CHANCE, *epochs(3), *RESUME, *workers) == 0
    assert batches == whole[1]
    by_epoch = [[entry[1:] for entry in batches if entry[0] == epoch] for epoch in range(3)]
    assert by_epoch[0] != by_epoch[1] != by_epoch[2]


def test_a_run_that_ends_before_its_first_epoch_does_goes_on_from_its_best(
    toy, toy_data, tmp_path, monkeypatch, capsys
):
    often = ["--trainer.val_check_interval", "0.5", *epochs(2)]
    assert toy.fit(toy_data, tmp_path / "whole", *CHANCE, *often) == 0
    run = tmp_path / "parts"
    interrupt(monkeypatch, epoch=0, step=5)
    assert toy.fit(toy_data, run, *CHANCE, *often) == 130
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["best.ckpt"]
    assert toy.fit(toy_data, run, *CHANCE, *often) == 2
    assert "add --resume true" in capsys.readouterr().err
    assert toy.fit(toy_data, run, *CHANCE, *often, *RESUME) == 0
    torch.testing.assert_close(state(run), state(tmp_path / "whole"), rtol=0, atol=0)


@pytest.mark.parametrize("step", [0, 3])
def test_an_interrupted_run_ends_as_one_never_stopped(
    toy, toy_data, tmp_path, monkeypatch, step, whole
):
    """Bit for bit; what was done after the last whole epoch is done again."""
    run = tmp_path / "parts"
    interrupt(monkeypatch, epoch=1, step=step)
    assert toy.fit(toy_data, run, *CHANCE, *epochs(3)) == 130
    assert main(toy.recipe(), ["fit", "--run_dir", str(run), *RESUME]) == 0
    (expected, rates), (found, found_rates) = state(whole[0]), state(run)
    assert found_rates == rates
    assert set(found) == set(expected)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize("accumulated", [1, 2], ids=["each batch", "every two batches"])
@pytest.mark.parametrize("limit", ["max_steps", "max_time"])
def test_a_run_that_a_limit_ends_within_an_epoch_goes_on_at_its_next_batch(
    toy, toy_data, tmp_path, batches, monkeypatch, limit, accumulated
):
    """Nothing of the epoch is left out; a step that was not taken is taken then."""
    constant = ["--model.schedule.kind", "constant"]
    options = [*CHANCE, *constant, "--trainer.accumulate_grad_batches", str(accumulated)]
    assert toy.fit(toy_data, tmp_path / "whole", *options, *epochs(2)) == 0
    expected = [entry[1:] for entry in batches]
    run, begun = tmp_path / "parts", []
    if limit == "max_steps":
        begun = ["--trainer.max_steps", "2"]
    else:
        stop(monkeypatch, after=3)
    batches.clear()
    assert toy.fit(toy_data, run, *options, *epochs(2), *begun) == 0
    before = len(batches)
    assert before == (3 if limit == "max_time" else 2 * accumulated)
    on = ["--trainer.max_steps", "-1", *RESUME]
    assert main(toy.recipe(), ["fit", "--run_dir", str(run), *on]) == 0
    again = before % accumulated
    found = [entry[1:] for entry in batches]
    assert found[: before - again] + found[before:] == expected
    torch.testing.assert_close(state(run), state(tmp_path / "whole"), rtol=0, atol=0)


@pytest.mark.parametrize(
    "other",
    [
        ["--data.batch_size", "24", "--data.num_buckets", "1"],
        ["--data.batch_size", "2"],
        ["--seed_everything", "3"],
    ],
    ids=["larger", "smaller", "another order"],
)
def test_an_epoch_of_other_batches_begins_anew(
    toy, toy_data, tmp_path, batches, monkeypatch, capsys, other
):
    """Each utterance comes once an epoch, whatever the batches were before."""
    run = tmp_path / "run"
    often = ["--checkpoint_steps", "1", "--model.schedule.kind", "constant", *epochs(2)]
    interrupt(monkeypatch, epoch=0, step=4)
    assert toy.fit(toy_data, run, *CHANCE, *often) == 130
    batches.clear()
    assert main(toy.recipe(), ["fit", "--run_dir", str(run), *RESUME, *other]) == 0
    assert "epoch 1 begins anew" in capsys.readouterr().out
    for epoch in range(2):
        heard = [name for at, ids, _ in batches if at == epoch for name in ids]
        assert sorted(heard) == sorted(f"train{n}" for n in range(24))


def test_a_checkpoint_within_an_epoch_that_says_nothing_of_its_batches_goes_on(
    toy, toy_data, tmp_path, batches, monkeypatch, whole
):
    """As those of earlier versions do."""
    run = tmp_path / "run"
    interrupt(monkeypatch, epoch=0, step=4)
    assert toy.fit(toy_data, run, *CHANCE, *epochs(3), "--checkpoint_steps", "1") == 130
    checkpoint = last(run)
    del checkpoint["SpeechDataModule"]
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    assert go_on(toy, run) == 0
    assert batches == whole[1]


def stop(monkeypatch, *, after):
    """Signal the end of training once, after so many batches, as a limit of time does."""
    at = pl.LightningModule.on_train_batch_end

    def hook(self, outputs, batch, batch_idx):
        if self.trainer.fit_loop.total_batch_idx + 1 == after:
            monkeypatch.setattr(SpeechModule, "on_train_batch_end", at)
            self.trainer.should_stop = True

    monkeypatch.setattr(SpeechModule, "on_train_batch_end", hook)


def score(monkeypatch, *rates):
    """Let these be the error rates of the coming development passes; the last for ever."""
    values = itertools.chain(rates, itertools.repeat(rates[-1]))
    log = SpeechModule.log

    def scored(self, name, value, *args, **options):
        log(self, name, next(values) if name == "dev/error_rate" else value, *args, **options)

    monkeypatch.setattr(SpeechModule, "log", scored)


@pytest.fixture(scope="module")
def trained(toy, toy_data, tmp_path_factory):
    """A run of two epochs whose first was the best, at 50 %."""
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score(patch, 0.5, 0.6)
        assert toy.fit(toy_data, run, *epochs(2)) == 0
    return run


@pytest.fixture
def moved(trained, tmp_path):
    """That run, in another folder."""
    return shutil.copytree(trained, tmp_path / "moved")


def go_on(toy, run, *options):
    """Resume with no options but these."""
    return main(toy.recipe(), ["fit", "--run_dir", str(run), *RESUME, *options])


def contents(run):
    kept = [*(run / "checkpoints").iterdir(), run / "config.yaml"]
    return {path.name: path.read_bytes() for path in kept}


def last(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_moved_run_keeps_its_best_checkpoint_from_a_worse_one(toy, moved, monkeypatch, capsys):
    before = contents(moved)
    score(monkeypatch, 0.625, 0.4)
    assert go_on(toy, moved, *epochs(3)) == 0
    after = contents(moved)
    assert after["best.ckpt"] == before["best.ckpt"]
    assert after["last.ckpt"] != before["last.ckpt"]
    assert "50.00 %" in capsys.readouterr().out
    assert go_on(toy, moved, *epochs(4)) == 0
    assert contents(moved)["best.ckpt"] != before["best.ckpt"]


def test_a_best_checkpoint_that_is_gone_is_made_anew(toy, moved, monkeypatch):
    (moved / "checkpoints" / "best.ckpt").unlink()
    score(monkeypatch, 0.625)
    assert go_on(toy, moved, *epochs(3)) == 0
    assert (moved / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_is_what_is_asked_for_now(toy, moved, monkeypatch, patience):
    score(monkeypatch, 0.6)
    assert go_on(toy, moved, *epochs(9), "--patience", str(patience)) == 0
    assert last(moved)["epoch"] + 1 == max(2, patience + 1)


def test_learning_rate_and_decay_are_what_is_asked_for_now(toy, moved):
    constant = ["--model.schedule.final_fraction", "1", "--model.schedule.warmup_steps", "1"]
    asked = ["--model.learning_rate", "0.005", "--model.weight_decay", "0.125", *constant]
    assert go_on(toy, moved, *epochs(3), *asked) == 0
    groups = last(moved)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.005, 0.005]
    assert groups[0]["weight_decay"] == 0.125
    said = yaml.safe_load((moved / "config.yaml").read_text())
    assert said["model"]["learning_rate"] == 0.005
    assert said["trainer"]["max_epochs"] == 3
    assert said["resume"] is False


def test_a_run_goes_on_with_its_own_options(toy, moved, toy_data):
    assert go_on(toy, moved, *epochs(3)) == 0
    said = yaml.safe_load((moved / "config.yaml").read_text())
    assert said["model"]["network"]["hidden_size"] == 16
    assert said["data"]["data_dir"] == str(toy_data)
    assert said["run_dir"] == str(moved)


def test_a_run_of_an_earlier_version_goes_on(toy, moved):
    path = moved / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"].update(config["model"].pop("network"))
    config["trainer"]["use_distributed_sampler"] = True
    path.write_text(yaml.safe_dump(config))
    assert go_on(toy, moved, *epochs(3)) == 0
    assert last(moved)["epoch"] == 2


@pytest.mark.parametrize("content", [b"\xff", b"model: [", b"nonsense: 1\n"])
def test_a_damaged_configuration_is_named(toy, moved, capsys, content):
    (moved / "config.yaml").write_bytes(content)
    assert go_on(toy, moved, *epochs(3)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.network.hidden_size", "8"], "hidden_size 16, now 8"),
        (["--model.network.cell", "lstm"], "cell peephole, now lstm"),
        (["--model.features.num_mels", "20"], "num_mels 40, now 20"),
        (["--model.features.normalisation", "none"], "normalisation"),
        (["--optimizer", "SGD", "--optimizer.lr", "0.1"], "--optimizer"),
        (["--trainer.max_epochs", "1"], "2 epochs"),
        (["--trainer.max_steps", "1"], "steps"),
        (["--model.learning_rate", "-1"], "learning_rate"),
        (["--nonsense", "1"], "nonsense"),
    ],
    ids=" ".join,
)
def test_what_does_not_fit_is_refused_and_changes_nothing(toy, moved, capsys, options, said):
    before = contents(moved)
    assert go_on(toy, moved, *epochs(3), *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert contents(moved) == before


@pytest.mark.parametrize("how", ["more", "order"])
def test_other_tokens_are_refused(toy, moved, toy_data, tmp_path, capsys, how):
    other = shutil.copytree(toy_data, tmp_path / "data")
    tokens = (toy_data / "tokens.txt").read_text().splitlines()
    mended = [*tokens, "c"] if how == "more" else [tokens[0], *tokens[:0:-1]]
    (other / "tokens.txt").write_text("\n".join(mended) + "\n")
    before = contents(moved)
    assert go_on(toy, moved, *epochs(3), "--data.data_dir", str(other)) == 2
    assert "tokens" in capsys.readouterr().err
    assert contents(moved) == before


def test_an_attempt_that_fails_before_its_first_checkpoint_leaves_all_as_it_was(
    toy, moved, monkeypatch
):
    before = contents(moved)
    interrupt(monkeypatch, epoch=2, step=1)
    assert go_on(toy, moved, *epochs(3), "--model.learning_rate", "0.001") == 130
    assert contents(moved) == before


def test_a_finished_run_is_said_to_be_finished(toy, moved, capsys):
    before = contents(moved)
    assert go_on(toy, moved) == 0
    assert "finished" in capsys.readouterr().out
    assert contents(moved) == before


def test_a_truncated_checkpoint_is_named(toy, moved, capsys):
    path = moved / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    assert go_on(toy, moved, *epochs(3)) == 2
    assert "last.ckpt" in capsys.readouterr().err


HOLD = """
import sys
from pathlib import Path
from recipes.common.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("resume", [[], RESUME], ids=["anew", "resumed"])
def test_a_folder_in_which_another_process_trains_is_refused(toy, moved, capsys, resume):
    """Until that one has ended, however it ends."""
    before = contents(moved)
    command = [sys.executable, "-c", HOLD, str(moved)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        options = ["fit", "--run_dir", str(moved), *epochs(3), *resume]
        assert main(toy.recipe(), options) == 2
        error = capsys.readouterr().err
        assert f"{moved}: another training is at work in this folder" in error
        assert error.count("\n") == 1
        other.kill()
    assert contents(moved) == before
    assert go_on(toy, moved, *epochs(3)) == 0
    assert not (moved / "lock").exists()


def test_an_attempt_that_is_refused_leaves_no_folder(toy, toy_data, tmp_path):
    assert toy.fit(toy_data, tmp_path / "a" / "run", "--patience", "0") == 2
    assert not (tmp_path / "a").exists()
