"""One option after another: all runs of a plan, and what is said of them."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.audio import write_wav
from asr.bundle import load_bundle
from asr.tokens import Tokenizer
from asr.types import ConfigError, Waveform
from recipes.an4.__main__ import RECIPE as AN4
from recipes.common.ablation.command import Ablation
from recipes.common.ablation.drive import result_of
from recipes.common.ablation.plan import arguments, jobs, read_plan
from recipes.common.cli import main
from recipes.common.compare import compare
from recipes.common.data import tokens_path
from recipes.common.fit_cli import SpeechCLI
from recipes.common.metric import WER
from recipes.common.outcomes import Outcome, Seeds, difference, gap_closed, read_outcome
from recipes.common.record import read_record
from recipes.english.__main__ import RECIPE as ENGLISH
from recipes.librispeech.__main__ import RECIPE as LIBRISPEECH

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

PLAN = """
seeds: [0, 1]
fit: {trainer.max_epochs: 1}
gap: [same, wide]
rows:
  base:
  same: {says: the same again}
  wide: {says: more cells, fit: {model.network.hidden_size: "{cells}"}}
  chunks: {says: by chunks, of: wide, evaluate: {chunk-ms: 2000, look-ahead-ms: 0}}
"""


class Commands:
    """The toy's commands in this process; ``fails`` says which of them do, by their words."""

    def __init__(self, toy, fails=lambda words: False):
        self.recipe = replace(toy.recipe(), commands={})
        self.options = toy.OPTIONS
        self.fails = fails
        self.done = []

    def __call__(self, words, log):
        words = list(words)
        given = self.options if words[0] == "fit" else []
        options = [*given, *words[1:]] if given else words[1:]
        if self.fails(words):
            return 2
        self.done.append(words)
        return main(self.recipe, [words[0], *options])


def ablation(commands, tmp_path, plan, *more):
    """Run the command; returns its exit code."""
    (tmp_path / "plan.yaml").write_text(plan)
    recipe = replace(commands.recipe, commands={"ablation": Ablation(commands)})
    where = ["--corpus", str(tmp_path / "corpus"), "--root", str(tmp_path / "root")]
    given = [str(tmp_path / "plan.yaml"), *where, "--set", "cells=20", *more]
    return main(recipe, ["ablation", *given])


def steps(commands):
    """How often each of the recipe's commands was run."""
    names = [words[0] for words in commands.done]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def test_all_rows_are_trained_once_and_what_failed_is_done_later(toy, tmp_path, capsys):
    broken = Commands(toy, lambda words: words[0] == "fit" and any("wide" in w for w in words))
    assert ablation(broken, tmp_path, PLAN) == 2
    told = capsys.readouterr()
    assert steps(broken) == {"prepare": 1, "fit": 4, "evaluate": 4}
    assert "4 of 8 runs failed: wide, seed 0: fit failed" in told.err
    assert f"chunks, seed 0: {tmp_path}/root/wide/seed-0 is not trained" in told.err
    assert "log.txt" in told.err
    assert "| wide |" not in told.out

    # What was not finished is, and nothing else is done again.
    rest = Commands(toy)
    assert ablation(rest, tmp_path, PLAN) == 0
    assert steps(rest) == {"fit": 2, "evaluate": 4}
    table = capsys.readouterr().out.splitlines()[-6:]
    assert (tmp_path / "root" / "table.md").read_text().splitlines() == table
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")] for line in table}
    assert list(rows)[2:] == ["base", "same", "wide", "chunks"]
    assert "of the way from same to wide" in rows["row"][8]
    assert rows["same"][8] == rows["wide"][8] == ""
    assert len(rows["base"][8].split(", ")) == 2
    assert rows["same"][6:8] == ["+0.00, +0.00", "+0.00 (+0.00 to +0.00)"]
    assert rows["base"][3:6] == rows["same"][3:6]
    assert rows["chunks"][3] == rows["wide"][3]
    assert int(rows["wide"][3].replace(",", "")) > int(rows["base"][3].replace(",", ""))
    again = Commands(toy)
    assert ablation(again, tmp_path, PLAN, "--table") == 0
    assert capsys.readouterr().out.splitlines() == table
    assert again.done == []

    record = read_record(tmp_path / "root" / "base" / "seed-1")
    assert [part["command"].split()[:4] for part in record] == [
        ["python", "-m", "recipes.an4", "fit"]
    ]
    assert f"torch {torch.__version__}" in record[0]["machine"]

    # An interrupted run goes on: its folder has a last checkpoint and no result.
    run = tmp_path / "root" / "same" / "seed-1"
    state = json.loads((run / "ablation.json").read_text())
    (run / "ablation.json").write_text(json.dumps({**state, "trained": False}))
    (run / "ablation").rename(tmp_path / "earlier")
    on = Commands(toy)
    assert ablation(on, tmp_path, PLAN) == 0
    assert steps(on) == {"fit": 1, "evaluate": 1}
    assert on.done[0][on.done[0].index("--resume") + 1] == "true"
    capsys.readouterr()

    # A row with other options than its runs were made with is refused before any training.
    other = PLAN.replace("base:", "base: {fit: {model.network.dropout: 0.5}}")
    assert ablation(Commands(toy), tmp_path, other) == 2
    assert "other options of fit" in capsys.readouterr().err


def test_options_that_cannot_be_may_be_mended(toy, tmp_path, capsys):
    """A row that has not begun to train is bound to nothing."""
    plan = "seeds: [0]\nrows: {base: {fit: {%s: 8}}}\nfit: {trainer.max_epochs: 1}\n"
    assert ablation(Commands(toy), tmp_path, plan % "model.netwrok.hidden_size") == 2
    assert "base, seed 0: fit failed" in capsys.readouterr().err
    assert ablation(Commands(toy), tmp_path, plan % "model.network.hidden_size") == 0


def test_data_of_another_corpus_are_refused_before_any_training(toy, tmp_path, capsys):
    plan = "seeds: [0]\nfit: {trainer.max_epochs: 1}\nrows: {base: }\n"
    assert ablation(Commands(toy), tmp_path, plan) == 0
    more = plan.replace("base: ", "base: , more: {fit: {model.network.dropout: 0.5}}")
    other = Commands(toy)
    capsys.readouterr()
    assert ablation(other, tmp_path, more, "--corpus", str(tmp_path / "other")) == 2
    error = capsys.readouterr().err
    assert f"prepared from {tmp_path}/corpus, and --corpus is now {tmp_path}/other" in error
    assert other.done == []
    # What an earlier version has begun does not say of which corpus it is.
    (tmp_path / "root" / "data" / "as-it-comes" / "ablation-corpus.json").unlink()
    on = Commands(toy)
    assert ablation(on, tmp_path, more) == 0
    assert steps(on) == {"fit": 1, "evaluate": 1}


def test_an_error_rate_is_of_the_speech_as_it_is_once_all_is_evaluated(toy, tmp_path):
    """Not of a condition beside it, nor of what an evaluation has left that was ended."""
    plan = """
seeds: [0]
fit: {trainer.max_epochs: 1}
evaluate: {conditions: "8khz,gain", lm: null, nist: false}
rows: {base: }
"""
    broken = Commands(toy, lambda words: words[0] == "evaluate")
    assert ablation(broken, tmp_path, plan) == 2
    results = tmp_path / "root" / "base" / "seed-0" / "ablation"
    results.mkdir()
    (results / "dev.greedy.jsonl").write_text("")
    (results / "dev.greedy.json").write_text('{"options": {"split": "dev"}}')
    (job,) = jobs(read_plan(tmp_path / "plan.yaml"), tmp_path / "root", {})
    assert result_of(job) is None
    rest = Commands(toy)
    assert ablation(rest, tmp_path, plan) == 0
    assert steps(rest) == {"evaluate": 1}
    assert sorted(path.name for path in results.glob("*.jsonl")) == [
        *("dev.greedy.8khz.jsonl", "dev.greedy.gain.jsonl", "dev.greedy.jsonl")
    ]
    assert result_of(job) == results / "dev.greedy.jsonl"
    (job.run / "ablation.json").write_text("[1]")  # damaged: there is still a result
    assert ablation(Commands(toy), tmp_path, plan) == 0


def test_options_reach_the_commands_as_they_read_them():
    fit = {"a.b": [2, 1], "c": None, "d": True, "e": {"folder": "x"}, "f": "torch-lstm"}
    words = arguments(fit, yaml_values=True)
    assert words[:6] == ["--a.b", "[2, 1]", "--c", "null", "--d", "true"]
    assert words[6:] == ["--e", '{"folder": "x"}', "--f", "torch-lstm"]
    prepare = {"units": "phones", "lexicon": ["a.txt", "cmudict"], "skip-bad": True}
    prepare |= {"words": None, "keep-sa": False}
    assert arguments(prepare) == [
        *("--units", "phones", "--lexicon", "a.txt", "cmudict", "--skip-bad")
    ]


def test_each_preparation_has_a_folder_of_its_own_that_a_disk_can_name(tmp_path):
    path = tmp_path / "plan.yaml"
    long = {name: f"/somewhere/{'far/' * 15}away/{name}" for name in "abcdefgh"}
    path.write_text(f"""
seeds: [0]
rows:
  base:
  slash: {{prepare: {{lexicon: d/l.txt}}}}
  hyphen: {{prepare: {{lexicon: d-l.txt}}}}
  long: {{prepare: {json.dumps(long)}}}
""")
    folders = [job.data for job in jobs(read_plan(path), tmp_path / "root", {})]
    assert len(set(folders)) == 4
    for folder in folders:
        folder.mkdir(parents=True)


def test_rows_with_the_same_data_share_a_folder(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("""
seeds: [3, 4]
prepare: {fold: "{seed}"}
evaluate: {split: dev}
rows:
  base:
  subwords: {prepare: {units: subwords}, evaluate: {checkpoint: "{run}/{name}.ckpt"}}
  ema: {fit: {ema: 0.99}}
  later: {of: ema, evaluate: {checkpoint: "{run}/last.ckpt"}}
""")
    made = {(j.row, j.seed): j for j in jobs(read_plan(path), tmp_path, {"name": "average"})}
    assert made["base", 3].data == made["ema", 3].data != made["base", 4].data
    assert made["subwords", 3].prepare == {"fold": "3", "units": "subwords"}
    assert made["subwords", 3].data not in (made["base", 3].data, made["subwords", 4].data)
    assert made["subwords", 4].evaluate == {
        "split": "dev",
        "checkpoint": f"{tmp_path}/subwords/seed-4/average.ckpt",
    }
    ema, later = made["ema", 4], made["later", 4]
    assert (later.data, later.fit, later.trained) == (ema.data, ema.fit, ema.run)
    assert later.run == tmp_path / "later" / "seed-4"
    assert later.evaluate["checkpoint"] == f"{ema.run}/last.ckpt"
    # All rows have one seed before any has two.
    assert [seed for _, seed in made] == [3, 3, 3, 3, 4, 4, 4, 4]
    with pytest.raises(ConfigError, match=r"subwords asks for \{name\} .*--set name="):
        jobs(read_plan(path), tmp_path, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds: [0]\nrows: {}", "no rows"),
        ("seeds: []\nrows: {a: }", r"seeds are \[\]"),
        ("seeds: [0, 0]\nrows: {a: }", "seeds are"),
        ("seeds: [[0]]\nrows: {a: }", "seeds are"),
        ("seeds: [true]\nrows: {a: }", "seeds are"),
        ("seeds: [0]\nrows: {a: {says: 0.2}}", "says of a is 0.2.*in quotes"),
        ("seeds: [0]\nrows: {a: , b: {of: [a]}}", r"of of b is \['a'\]"),
        ("seeds: [0]\nrows: {a: {fit: {x: 2024-01-01}}}", "x of fit for a is"),
        ("seeds: [0]\nrows: {a: {fit: {1: 2}}}", "options of fit for a"),
        ("seeds: [0]\ngap: [[a], [b]]\nrows: {a: , b: }", "the gap is"),
        ("seeds: [0]\nrows: {a: {fitt: {}}}", "unknown a's options fitt"),
        ("seeds: [0]\nrows: {a: {fit: [1]}}", "options of fit for a"),
        ("seeds: [0]\nrows: {a/b: }", "'a/b' cannot name a row"),
        ("seeds: [0]\nrows: {a: , b: {of: c}}", "b is of 'c', which is no row above it"),
        ("seeds: [0]\nrows: {b: {of: a}, a: }", "b is of 'a', which is no row above it"),
        ("seeds: [0]\nrows: {a: , b: {of: a, fit: {ema: 0.9}}}", "has options of prepare or fit"),
        ("seeds: [0]\ngap: [a]\nrows: {a: , b: }", r"the gap is \['a'\]"),
        ("seeds: [0]\ngap: [a, c]\nrows: {a: , b: }", "the gap is"),
        ("seeds: [0", "no YAML"),
        ("", "give values by name"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, text, told):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        read_plan(path)
    assert caught.value.where == str(path)


def outcome(path, wrong):
    """Forty sentences of eight speakers, the first so many of them with an error of five words."""
    said, heard = "one two three four five", "one two tree four five"
    rows = [
        {"id": f"u{n}", "speaker": f"s{n % 8}", "reference": said}
        | {"hypothesis": heard if n < wrong else said}
        for n in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_difference_of_one_seed_is_that_of_compare(tmp_path):
    one, other = (outcome(tmp_path / f"{n}.jsonl", n) for n in (20, 4))
    found = difference(Seeds({0: read_outcome(one, WER)}), Seeds({0: read_outcome(other, WER)}))
    boot = compare(WER, one, other).bootstrap
    assert found.mean == pytest.approx(16 / 200)
    assert (found.low, found.high) == (boot.low, boot.high)


def test_seeds_are_paired_and_what_has_no_pair_is_not_compared(tmp_path):
    files = {n: outcome(tmp_path / f"{n}.jsonl", n) for n in (20, 10, 4)}
    read = {n: read_outcome(path, WER) for n, path in files.items()}
    seeds, base = Seeds({0: read[20], 1: read[10]}), Seeds({0: read[10], 2: read[4]})
    assert seeds.mean == pytest.approx(0.075)
    assert seeds.spread == pytest.approx(0.025 * 2**0.5)
    assert difference(seeds, base).by_seed == pytest.approx({0: 0.05})
    assert difference(Seeds({5: read[4]}), base) is None
    assert difference(Seeds({0: Outcome("PER", read[4].errors)}), base) is None


def test_a_share_of_a_gap_is_of_the_same_seeds_and_has_no_end_where_there_is_no_gap(tmp_path):
    read = {n: read_outcome(outcome(tmp_path / f"{n}.jsonl", n), WER) for n in (4, 10, 20, 40)}
    near, far = Seeds({0: read[4], 1: read[4]}), Seeds({0: read[20], 1: read[40]})
    found = gap_closed(Seeds({0: read[10], 1: read[10], 2: read[10]}), far, near)
    assert found.by_seed == pytest.approx({0: 10 / 16, 1: 30 / 36})
    assert found.whole == pytest.approx(40 / 52)
    assert 0.5 < found.low < found.whole < found.high < 1.0
    none = gap_closed(near, Seeds({0: read[4]}), near)
    assert math.isnan(none.by_seed[0])
    assert (none.low, none.high) == (-math.inf, math.inf)
    assert gap_closed(near, Seeds({5: read[4]}), near) is None


@pytest.mark.parametrize("part", ["structure", "augmentation"])
def test_the_options_of_the_plan_of_an4_exist(part, toy_data, tmp_path):
    plan = read_plan(AN4.config.parent / "ablation.yaml")
    data = tmp_path / "data"
    shutil.copytree(toy_data, data)
    Tokenizer.from_texts(["a b"], "characters").save(tokens_path(data))
    noise = tmp_path / "noise"
    noise.mkdir()
    write_wav(noise / "hiss.wav", Waveform(np.full(16_000, 0.1, "f4"), 16_000))
    made = {j.row: j.fit for j in jobs(plan, tmp_path, {"noise": str(noise)})}
    changed = {row for row, fit in made.items() if any(".augment." in name for name in fit)}
    assert len(changed) == 9
    rows = [made[row] for row in made.keys() - changed]
    if part == "augmentation":
        rows = [{name: value for row in changed for name, value in made[row].items()}]
    for options in rows:
        where = {"data.data_dir": str(data), "run_dir": str(tmp_path / "run")}
        cli = SpeechCLI(AN4, arguments({**where, **options}, yaml_values=True))
        assert cli.config.model.network.hidden_size == 128


def test_the_networks_of_the_plan_of_dual_mode_are_as_large(toy_data, tmp_path):
    plan = read_plan(AN4.config.parent / "dual-mode.yaml")
    sizes = {}
    for job in jobs(replace(plan, seeds=(0,)), tmp_path, {}):
        where = {"data.data_dir": str(toy_data), "run_dir": str(tmp_path / "run")}
        cli = SpeechCLI(AN4, arguments({**where, **job.fit}, yaml_values=True))
        sizes[job.row] = sum(weight.numel() for weight in cli.model.model.parameters())
        assert (cli.model.dual_mode is not None) == job.row.startswith("dual-mode")
    assert max(sizes.values()) < 1.01 * min(sizes.values())


@pytest.mark.parametrize("name", ["ablation", "dual-mode", "peepholes"])
def test_plans_of_an4_do_not_follow_the_recipe_when_its_defaults_change(name, toy_data, tmp_path):
    first = jobs(read_plan(AN4.config.parent / f"{name}.yaml"), tmp_path, {"noise": "noise"})[0]
    where = {"data.data_dir": str(toy_data), "run_dir": str(tmp_path / "run")}
    config = SpeechCLI(AN4, arguments({**where, **first.fit}, yaml_values=True)).config
    assert config.model.network.front is None
    assert not config.model.objective.intermediate
    assert config.data.augment is None


SMALL = [(LIBRISPEECH, "dual-mode"), (LIBRISPEECH, "units"), (ENGLISH, "corpora")]


@pytest.mark.parametrize(("recipe", "name"), SMALL, ids=[name for _, name in SMALL])
def test_plans_of_books_train_a_small_network_whatever_the_defaults_are(
    recipe, name, toy_data, tmp_path
):
    plan = read_plan(recipe.config.parent / f"{name}.yaml")
    corpora = ("librispeech", "an4", "speechocean", "fsdd", "synthetic")
    places = dict.fromkeys([*corpora, "lm", "words"], "somewhere")
    made = {job.row: job for job in jobs(replace(plan, seeds=(0,)), tmp_path, places)}
    sizes = {}
    for row, job in made.items():
        where = {"data.data_dir": str(toy_data), "run_dir": str(tmp_path / "run")}
        cli = SpeechCLI(recipe, arguments({**where, **job.fit}, yaml_values=True))
        sizes[row] = sum(weight.numel() for weight in cli.model.model.parameters())
        assert cli.config.model.network.front is None
        assert (cli.model.dual_mode is not None) == row.startswith("dual-mode")
    assert max(sizes.values()) < 1.01 * min(sizes.values())


def test_fine_tuning_on_an4_has_the_network_of_the_model_that_ships(toy_data, tmp_path):
    where = {"data.data_dir": str(toy_data), "run_dir": str(tmp_path / "run")}
    config = ["--config", str(AN4.config.parent / "finetune.yaml")]
    network = SpeechCLI(AN4, [*config, *arguments(where)]).model.model.config.network
    shipped = load_bundle("models/english").model.config.network
    assert replace(network, dropout=0.0) == replace(shipped, dropout=0.0)
