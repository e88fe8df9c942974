"""The common recipe on a toy corpus whose letters are tones: prepare, fit, evaluate, export."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asr.audio import read_audio
from asr.bundle import load_bundle
from asr.cli.main import main as asr_main
from asr.decoding import BeamOptions
from asr.recognizer import Recognizer
from asr.types import CorpusError, TrainingError
from recipes.common.cli import main, prepare
from recipes.common.data import SpeechDataModule, manifest_path
from recipes.common.export import bundle_from_checkpoint
from recipes.common.manifests import Utterance, read_manifest, write_manifest

# Lightning's and lhotse's own, about versions to come.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*"),
]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    prepare(toy.recipe(), folder / "corpus", folder / "data")
    assert fit(toy, folder, "run", 12) == 0
    return folder


def fit(toy, folder, run, epochs, *more):
    return toy.fit(folder / "data", folder / run, "--trainer.max_epochs", str(epochs), *more)


def test_it_learns_and_writes_best_last_config_and_logs(trained):
    checkpoints = trained / "run" / "checkpoints"
    assert {p.name for p in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (trained / "run" / "config.yaml").is_file()
    assert list((trained / "run" / "tensorboard").glob("events*"))


def test_evaluate_prints_the_error_rate_and_keeps_each_utterance(toy, trained, capsys):
    output = trained / "dev.jsonl"
    where = ["--run", str(trained / "run"), "--data", str(trained / "data")]
    assert main(toy.recipe(), ["evaluate", *where, "--output", str(output)]) == 0
    assert "WER" in capsys.readouterr().out
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 6
    assert sum(row["hypothesis"] == row["reference"] for row in rows) >= 5


@pytest.mark.parametrize("target", ["checkpoint", "manifest", "recording"])
def test_evaluate_does_not_write_over_what_it_reads(toy, trained, tmp_path, capsys, target):
    for name in ("run", "data", "corpus"):
        shutil.copytree(trained / name, tmp_path / name)
    prepare(toy.recipe(), tmp_path / "corpus", tmp_path / "data")
    recordings = read_manifest(manifest_path(tmp_path / "data", "dev"))
    victim = {
        "checkpoint": tmp_path / "run" / "checkpoints" / "best.ckpt",
        "manifest": manifest_path(tmp_path / "data", "dev"),
        "recording": Path(next(iter(recordings)).recording.sources[0].source),
    }[target]
    before = victim.read_bytes()
    where = ["--run", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
    assert main(toy.recipe(), ["evaluate", *where, "--output", str(victim)]) == 2
    assert "which is read" in capsys.readouterr().err
    assert victim.read_bytes() == before


def test_evaluate_finds_out_before_it_decodes_that_it_cannot_write(
    toy, trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        "recipes.common.evaluate.evaluation.score_cuts", lambda *_: pytest.fail("decoded")
    )
    (tmp_path / "file").touch()
    where = ["--run", str(trained / "run"), "--data", str(trained / "data")]
    for output in (tmp_path, tmp_path / "file" / "below"):
        assert main(toy.recipe(), ["evaluate", *where, "--output", str(output)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bundle_does_not_replace_the_lexicon_it_is_made_with(toy, trained, tmp_path, capsys):
    export = ["export", "--run", str(trained / "run"), "--output", str(tmp_path / "bundle")]
    assert main(toy.recipe(), export) == 0
    (tmp_path / "bundle" / "lexicon.txt").write_text("a\n")
    before = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
    lexicon = ["--lexicon", str(tmp_path / "bundle" / "lexicon.txt")]
    assert main(toy.recipe(), [*export, *lexicon]) == 2
    assert "which is read" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_command_that_cannot_print_says_so_in_one_line():
    code = (
        "from rich.console import Console; from recipes.common.cli import run_guarded;"
        "raise SystemExit(run_guarded(lambda: Console().print(1)))"
    )
    reader, closed = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for out, said in ((full, "error: No space left on device\n"), (closed, "")):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        os.close(out)
        assert (done.returncode, done.stderr) == (2, said)


def test_evaluate_reads_a_split_straight_from_the_corpus(toy, trained, capsys):
    where = ["--run", str(trained / "run"), "--corpus", str(trained / "corpus")]
    output = ["--split", "test", "--output", str(trained / "test.jsonl")]
    how = ["--decoder", "beam", "--backend", "onnx-int8"]
    assert main(toy.recipe(), ["evaluate", *where, *output, *how]) == 0
    assert "test, beam, onnx-int8" in capsys.readouterr().out
    assert len((trained / "test.jsonl").read_text().splitlines()) == 6


def test_the_bundle_hears_what_the_checkpoint_hears(toy, trained):
    bundle = trained / "bundle"
    where = ["--run", str(trained / "run"), "--output", str(bundle)]
    assert main(toy.recipe(), ["export", *where]) == 0
    checkpoint = trained / "run" / "checkpoints" / "best.ckpt"
    waveforms = [read_audio(path) for path in sorted((trained / "corpus").glob("dev*.wav"))]
    loaded = Recognizer.load(bundle).recognize(waveforms)
    direct = Recognizer(bundle_from_checkpoint(checkpoint, "toy")).recognize(waveforms)
    assert [t.text for t in loaded] == [t.text for t in direct]
    assert any(t.text for t in loaded)


@pytest.fixture
def lm(tmp_path):
    """Options of a language model that knows of one letter alone."""
    (tmp_path / "text").write_text("a\naa\naaa\n")
    command = ["lm", "train", tmp_path / "text", "--units", "characters", "--order", 1, "--output"]
    assert asr_main([*map(str, command), str(tmp_path / "lm.arpa"), "--discount-fallback"]) == 0
    return ["--lm", str(tmp_path / "lm.arpa"), "--lm-units", "tokens"]


@pytest.mark.parametrize(
    ("options", "decoder"),
    [
        ([], "greedy"),
        (["--nbest", "1"], "greedy"),
        (["LM"], "beam"),
        (["LM", "--lm-weight", "50", "--token-bonus", "1"], "beam"),
        (["--max-expansions", "9"], "prefix"),
        (["--phrase", "ab"], "beam"),
    ],
)
def test_evaluate_uses_the_decoder_that_is_meant(toy, trained, lm, capsys, options, decoder):
    where = ["--run", str(trained / "run"), "--data", str(trained / "data")]
    output = trained / "meant.jsonl"
    how = [*lm, *options[1:]] if options[:1] == ["LM"] else options
    assert main(toy.recipe(), ["evaluate", *where, "--output", str(output), *how]) == 0
    assert f"dev, {decoder}, " in capsys.readouterr().out
    heard = {json.loads(line)["hypothesis"] for line in output.read_text().splitlines()}
    assert ("b" in "".join(heard)) == ("50" not in options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--phrase", "100 %"], "the phrase '100 %' has unknown symbols"),
        (["LM", "--decoder", "greedy"], "greedy decoding takes no --lm or --lexicon"),
        (["--graph", "nowhere"], "there is no decoding graph"),
    ],
)
def test_evaluate_refuses_a_decoder_before_it_reads_audio(
    toy, trained, lm, capsys, monkeypatch, options, message
):
    def no_audio(cut: object) -> None:
        raise AssertionError("audio was read")

    monkeypatch.setattr("recipes.common.evaluate.recognition.load_samples", no_audio)
    where = ["--run", str(trained / "run"), "--data", str(trained / "data")]
    how = [*lm, *options[1:]] if options[:1] == ["LM"] else options
    assert main(toy.recipe(), ["evaluate", *where, *how]) == 2
    assert message in capsys.readouterr().err


def test_export_writes_the_decoder_that_is_meant_or_nothing(toy, trained, lm, tmp_path, capsys):
    command = ["export", "--run", str(trained / "run"), "--output"]
    language = [*lm, "--lm-weight", "0.8", "--unk-score", "-3", "--nbest", "2"]
    assert main(toy.recipe(), [*command, str(tmp_path / "whole"), *language]) == 0
    expected = BeamOptions(lm_weight=0.8, unk_score=-3.0, nbest=2)
    assert load_bundle(tmp_path / "whole").decoder == expected
    for options, message in (
        (["--graph", "nowhere"], "there is no decoding graph"),
        (["--decoder", "greedy", "--beam-width", "9"], "greedy decoding takes no --beam-width"),
    ):
        assert main(toy.recipe(), [*command, str(tmp_path / "none"), *options]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def weights(path):
    state = torch.load(path, weights_only=True)
    return state["epoch"], state["global_step"], state["state_dict"]


def test_a_resumed_run_goes_on_where_it_was(toy, trained):
    two_batches = ["--trainer.limit_train_batches", "2"]
    assert fit(toy, trained, "halves", 4, *two_batches) == 0
    last = trained / "halves" / "checkpoints" / "last.ckpt"
    epoch, step, before = weights(last)
    assert (epoch, step) == (3, 8)
    assert fit(toy, trained, "halves", 5, *two_batches, "--resume", "true") == 0
    epoch, step, after = weights(last)
    assert (epoch, step) == (4, 10)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_is_not_overwritten(toy, trained, capsys):
    before = (trained / "run" / "checkpoints" / "last.ckpt").read_bytes()
    assert fit(toy, trained, "run", 1) == 2
    assert "--resume" in capsys.readouterr().err
    assert (trained / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


def test_nothing_to_resume_is_said(toy, trained, capsys):
    assert fit(toy, trained, "fresh", 1, "--resume", "true") == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_data_not_prepared_is_said(toy, tmp_path, capsys):
    assert fit(toy, tmp_path, "run", 1) == 2
    error = capsys.readouterr().err
    assert "tokens.txt" in error
    assert "Traceback" not in error


def test_preflight_names_what_cannot_be_aligned_and_leaves_it_out(toy, trained):
    folder = trained / "odd"
    shutil.copytree(trained / "data", folder)
    utterances = toy.utterances(trained / "corpus", "train")
    long = Utterance("too-long", utterances[0].audio, "ab" * 100, "train-speaker0")
    strange = Utterance("strange", utterances[0].audio, "xyz", "train-speaker0")
    empty = Utterance("empty", utterances[0].audio, "", "train-speaker0")
    write_manifest(manifest_path(folder, "train"), [*utterances[:3], long, strange, empty])
    data = SpeechDataModule(str(folder))
    report = data.preflight("train", lambda samples: samples // 480)
    assert report.too_short == ("too-long",)
    assert report.unknown == ("strange",)
    assert report.empty == ("empty",)
    seen = [name for batch in data.train_dataloader() for name in batch.ids]
    assert sorted(seen) == sorted(u.id for u in utterances[:3])


def test_every_utterance_is_seen_once_an_epoch_in_an_order_of_its_own(trained):
    data = SpeechDataModule(str(trained / "data"), batch_size=4)
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        epochs.append([name for batch in loader for name in batch.ids])
    expected = sorted(cut.id for cut in read_manifest(manifest_path(trained / "data", "train")))
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected
    assert epochs[0] != epochs[1]


def test_a_speaker_in_two_splits_is_refused(toy, tmp_path):
    def mixed(corpus, split):
        return [Utterance(u.id, u.audio, u.text, "everyone") for u in toy.utterances(corpus, split)]

    with pytest.raises(CorpusError, match="everyone"):
        prepare(toy.recipe(mixed), tmp_path / "corpus", tmp_path / "data")


@pytest.mark.parametrize("content", [None, b"rubbish", "other"])
def test_a_broken_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.ckpt"
    if content == "other":
        torch.save({"epoch": 1}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError):
        bundle_from_checkpoint(path, "toy")


def test_commands_name_what_is_missing(toy, tmp_path, capsys):
    assert main(toy.recipe(), ["export", "--run", str(tmp_path)]) == 2
    assert "fit" in capsys.readouterr().err
    arguments = ["evaluate", "--run", str(tmp_path), "--checkpoint", str(tmp_path / "x.ckpt")]
    assert main(toy.recipe(), arguments) == 2
    assert "no such checkpoint" in capsys.readouterr().err
