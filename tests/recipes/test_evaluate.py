"""What `evaluate` says and keeps: of which model, which splits, by which decoder."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asr.bundle import load_bundle
from asr.decoding import GreedyOptions, make_decoder
from asr.nn.chunks import Chunking
from asr.scoring import ErrorCounts
from asr.stream import Streamer
from asr.tokens import Tokenizer
from asr.types import ConfigError, CorpusError, Hypothesis, Word
from recipes.common.audio import load_samples
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.evaluate import Scoring, names_in
from recipes.common.evaluate.results import add_summary, place_results, release
from recipes.common.evaluate.scored import fields_of
from recipes.common.evaluate.splits import find_splits
from recipes.common.evaluate.tables import group_rates
from recipes.common.evaluate.totals import total_scores
from recipes.common.export import bundle_from_checkpoint
from recipes.common.manifests import PHONES, Utterance, read_manifest, write_manifest
from recipes.common.metric import WER, Metric
from recipes.common.normaliser import TextOptions, save_text_options


@pytest.fixture(scope="module")
def data(toy, tmp_path_factory):
    """The toy's data, in which a manifest has two subsets, and every utterance an accent."""
    corpus, folder = (tmp_path_factory.mktemp("evaluate") / n for n in ("corpus", "data"))
    for split in ("train", "dev"):
        utterances = [
            Utterance(u.id, u.audio, u.text, u.speaker, fields=fields(split, n))
            for n, u in enumerate(toy.utterances(corpus, split))
        ]
        write_manifest(manifest_path(folder, split), utterances)
    Tokenizer(["<blank>", "<space>", "a", "b"], "characters").save(folder / "tokens.txt")
    return folder


def fields(split, number):
    accent = "north" if number < 4 else "south"
    return {"accent": accent, "subset": "train" if split == "train" else f"dev-{accent}"}


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_subsets_have_a_row_each_and_add_up(evaluated, tmp_path):
    told = evaluated("--split", "dev-north,dev-south")
    north, south = (rows_of(tmp_path / f"dev-{end}.greedy.jsonl") for end in ("north", "south"))
    assert (len(north), len(south)) == (4, 2)
    table = [line.split() for line in told.splitlines() if line.startswith(" dev-")]
    assert [(row[0], row[1]) for row in table] == [("dev-north", "4"), ("dev-south", "2")]
    told = evaluated("--split", "dev")
    assert "by subset" in told
    whole = rows_of(tmp_path / "dev.greedy.jsonl")
    assert sorted(whole, key=lambda row: row["id"]) == sorted(
        [*north, *south], key=lambda row: row["id"]
    )
    by_subset = {row["subset"]: row for row in table_of(tmp_path / "dev.greedy.by-subset.csv")}
    assert by_subset["dev-south"]["utterances"] == "2"


def test_what_is_no_split_is_told_with_what_there_is(evaluated):
    error = evaluated("--split", "dev-west", code=2)
    assert "no split 'dev-west'" in error
    for name in ("dev", "train", "dev-north", "dev-south"):
        assert name in error
    for names in ("dev,,train", "../dev", ""):
        assert "names no split" in evaluated("--split", names, code=2)


def test_one_file_does_not_hold_several_splits(evaluated, tmp_path):
    error = evaluated("--split", "dev,train", "--output", tmp_path / "x.jsonl", code=2)
    assert "--output is one file" in error
    assert not list(tmp_path.iterdir())


def test_an_output_is_all_that_is_written(evaluated, tmp_path):
    evaluated("--output", tmp_path / "x.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_an_output_does_not_replace_the_manifest_whose_part_is_evaluated(evaluated, data):
    manifest = manifest_path(data, "dev")
    before = manifest.read_bytes()
    error = evaluated("--split", "dev-south", "--output", manifest, code=2)
    assert "would be written over" in error
    assert manifest.read_bytes() == before


def test_results_have_names_of_their_own_and_all_options_beside(evaluated, tmp_path):
    evaluated()
    evaluated("--decoder", "beam", "--beam-width", "4")
    evaluated("--decoder", "beam", "--beam-width", "4", "--token-score", "2")
    evaluated("--phrase", "ab")
    names = {path.name for path in tmp_path.glob("*.jsonl")}
    expected = ("dev.greedy", "dev.beam-4", "dev.beam-4-2", "dev.beam-16-phrases")
    assert names == {f"{name}.jsonl" for name in expected}
    options = [json.loads((tmp_path / f"{n}.json").read_text())["options"] for n in expected]
    assert [o["decoder"].get("token_score") for o in options] == [None, 0.0, 2.0, 0.0]
    assert [row["result"] for row in table_of(tmp_path / "summary.csv")] == list(expected)


def test_the_same_evaluation_takes_its_own_place(evaluated, tmp_path):
    for _ in range(2):
        evaluated()
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["dev.greedy.jsonl"]
    before, after = table_of(tmp_path / "summary.csv")
    assert before["error_rate"] == after["error_rate"]


def test_the_summary_says_what_the_rows_say(evaluated, tmp_path):
    evaluated("--decoder", "beam", "--nbest", "4")
    [line] = table_of(tmp_path / "summary.csv")
    rows = rows_of(tmp_path / "dev.beam-16.jsonl")
    words = sum(len(row["reference"].split()) for row in rows)
    assert float(line["error_rate"]) == pytest.approx(
        sum(row["errors"] for row in rows) / words, abs=1e-6
    )
    assert float(line["oracle_error_rate"]) == pytest.approx(
        sum(row["oracle_errors"] for row in rows) / words, abs=1e-6
    )
    facts = json.loads((tmp_path / "dev.beam-16.json").read_text())
    assert facts["results"]["error_rate"] == pytest.approx(float(line["error_rate"]), abs=1e-6)


def test_the_oracle_is_the_least_wrong_of_the_n_best(evaluated, tmp_path):
    told = evaluated("--decoder", "beam", "--nbest", "4")
    assert "WER of the best of" in told
    rows = rows_of(tmp_path / "dev.beam-16.jsonl")
    assert any(len(row["nbest"]) == 4 for row in rows)
    for row in rows:
        assert row["oracle_errors"] == min(each["errors"] for each in row["nbest"])
        assert row["nbest"][0]["text"] == row["hypothesis"]
        assert row["nbest"][0]["errors"] == row["errors"]
        scores = [each["score"] for each in row["nbest"]]
        assert scores == sorted(scores, reverse=True)
    assert any(row["oracle_errors"] < row["errors"] for row in rows)


def test_tables_by_fields_of_the_corpus(evaluated, tmp_path):
    told = evaluated("--by", "speaker,accent")
    for word in ("by speaker", "dev-speaker1", "by accent", "south"):
        assert word in told
    rows = rows_of(tmp_path / "dev.greedy.jsonl")
    for line in table_of(tmp_path / "dev.greedy.by-speaker.csv"):
        mine = [row for row in rows if row["speaker"] == line["speaker"]]
        errors = sum(int(line[kind]) for kind in ("substitutions", "deletions", "insertions"))
        assert (int(line["utterances"]), errors) == (len(mine), sum(r["errors"] for r in mine))
    error = evaluated("--by", "shoe_size", code=2)
    assert "no utterance has the field 'shoe_size'" in error
    assert "accent" in error


def test_the_alignments_show_every_utterance(evaluated, data, tmp_path):
    evaluated()
    text = (tmp_path / "dev.greedy.alignments.txt").read_text()
    for row in rows_of(tmp_path / "dev.greedy.jsonl"):
        assert f"\n{row['id']}  speaker {row['speaker']}" in text
        assert f"REF: {row['reference']}" in text
    assert text.startswith("substitutions: ")


def test_each_figure_is_told_once(evaluated):
    assert evaluated("--split", "dev").count("seconds of computing per second") == 1


def test_a_bundle_is_evaluated_as_its_checkpoint(toy, evaluated, run, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    decoder = ["--decoder", "beam", "--token-score", "1.5"]
    assert main(toy.recipe(), ["export", "--run", str(run), "--output", str(bundle), *decoder]) == 0
    assert load_bundle(bundle).decoder.token_score == 1.5
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    evaluated("--bundle", bundle)  # by its own decoder
    rows = rows_of(tmp_path / "dev.beam-16.jsonl")
    evaluated(*decoder, "--output", tmp_path / "direct.jsonl")
    assert rows == rows_of(tmp_path / "direct.jsonl")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert "not allowed with" in both_models(toy, bundle, capsys)
    assert "no such" in evaluated("--bundle", tmp_path / "none", code=2)


def both_models(toy, bundle, capsys):
    with pytest.raises(SystemExit):
        main(toy.recipe(), ["evaluate", "--bundle", str(bundle), "--checkpoint", "x"])
    return capsys.readouterr().err


def test_sclite_counts_what_evaluate_counts(evaluated, sctk, tmp_path):
    evaluated("--nist")
    facts = json.loads((tmp_path / "dev.greedy.json").read_text())["results"]["nist_errors"]
    for kind, ref, hyp in (("trn", "ref.trn", "hyp.trn"), ("stm", "stm", "ctm")):
        files = ["-r", tmp_path / f"dev.greedy.{ref}", kind]
        files += ["-h", tmp_path / f"dev.greedy.{hyp}", "ctm" if kind == "stm" else kind]
        report = sctk("sclite", *files, "-i", "spu_id", "-s", "-o", "rsum", "stdout")
        [sums] = re.findall(r"Sum .*", report)
        counts = [int(number) for number in re.findall(r"\d+", sums)]
        kinds = ("reference_length", "substitutions", "deletions", "insertions")
        assert [counts[1], *counts[3:6]] == [facts[name] for name in kinds]


def test_by_chunks_the_model_says_what_it_says_of_a_stream(evaluated, run, data, tmp_path):
    told = evaluated("--chunk-ms", 80, "--look-ahead-ms", 40)
    assert "chunks of 80 ms, look-ahead 40 ms" in told
    bundle = bundle_from_checkpoint(run / "checkpoints" / "best.ckpt", "toy")
    chunking = Chunking.of_seconds(0.08, 0.04, bundle.seconds_per_frame)
    streamer = Streamer(bundle.extractor, bundle.model, chunking)
    decoder = make_decoder(GreedyOptions(), bundle.tokenizer, bundle.seconds_per_frame)
    rows = rows_of(tmp_path / "dev.greedy.chunks-80-40.jsonl")
    cuts = {cut.id: cut for cut in read_manifest(manifest_path(data, "dev"))}
    assert len(rows) == len(cuts)
    for row in rows:
        session, pieces = streamer.begin(), []
        session.push(torch.from_numpy(load_samples(cuts[row["id"]]).samples))
        session.end()
        while streamer.is_ready(session):
            pieces += streamer.step([session])
        log_probs = torch.cat(pieces)[None]
        assert (
            decoder.decode(log_probs, torch.tensor([log_probs.shape[1]]))[0][0].text
            == row["hypothesis"]
        )
    evaluated()
    whole = {row["id"]: row["hypothesis"] for row in rows_of(tmp_path / "dev.greedy.jsonl")}
    assert any(row["hypothesis"] != whole[row["id"]] for row in rows)


def test_chunks_that_cannot_be_are_refused(evaluated):
    assert "go together" in evaluated("--chunk-ms", 80, code=2)
    assert "go together" in evaluated("--look-ahead-ms", 80, code=2)
    assert "from 0 to 5" in evaluated("--chunk-ms", -80, "--look-ahead-ms", 0, code=2)


def test_results_do_not_replace_what_they_are_made_of(evaluated, data, tmp_path):
    """A manifest that has the name of a result, in the folder of results."""
    error = evaluated("--results", data / "dev.jsonl.gz", code=2)
    assert error.count("\n") == 1
    assert len(list(read_manifest(data / "dev.jsonl.gz"))) == 6


def test_texts_of_a_corpus_folder_get_the_form_of_the_model_or_of_the_prepared_data(
    toy, data, tmp_path
):
    prepared, corpus = tmp_path / "data", tmp_path / "corpus"
    shutil.copytree(data, prepared)
    save_text_options(prepared, TextOptions(case="lower"))

    def mixed(corpus, split):
        return [replace(u, text=u.text.title()) for u in toy.utterances(corpus, split)]

    for form, change in ((None, str.lower), (TextOptions(case="upper"), str.upper)):
        found = find_splits(toy.recipe(mixed), ("dev",), prepared, corpus, form)
        texts = [cut.supervisions[0].text for cut in found["dev"]]
        assert texts == [change(u.text) for u in toy.utterances(corpus, "dev")]


def cut(name, text, speaker=None, **custom):
    supervision = SimpleNamespace(
        text=text, speaker=speaker, gender=None, language=None, custom=custom
    )
    return SimpleNamespace(
        id=name, duration=1.0, supervisions=[supervision], custom=None, recording_id=name
    )


def score(number, text, heard, speaker=None, confidence=0.5, **custom):
    words = tuple(Word(w, 0.0, 0.1, confidence) for w in heard.split())
    hypotheses = [Hypothesis(heard, -1.0, confidence, words=words)]
    return Scoring(WER, "characters").score(cut(str(number), text, speaker, **custom), hypotheses)


def test_the_interval_of_one_speaker_is_over_utterances():
    """Drawn by speaker there would be one draw, and an interval of no width."""
    scored = [score(n, "a b", "a b" if n % 2 else "a c", "she") for n in range(20)]
    totals = total_scores(scored)
    assert totals.drawn == "utterance"
    assert totals.low < totals.errors.rate < totals.high
    assert total_scores([score(n, "a", "a") for n in range(3)]).drawn == "utterance"
    several = [score(n, "a b", "a c", f"{n % 3}") for n in range(9)]
    assert (total_scores(several).drawn, total_scores(several).speakers) == ("speaker", 3)


def test_confidences_are_held_against_the_words():
    scored = [score(n, "a b", "a c", confidence=0.5) for n in range(10)]
    assert total_scores(scored).calibration_error == pytest.approx(0.0)
    scored = [score(n, "a b", "a c", confidence=0.9) for n in range(10)]
    assert total_scores(scored).calibration_error == pytest.approx(0.4)


def test_what_the_metric_leaves_out_is_no_word_whose_confidence_counts():
    folded = Metric(
        "PER",
        lambda reference, hypothesis: ErrorCounts(),
        lambda text: ["B" if phone == "b" else phone for phone in text.split() if phone != "q"],
    )
    words = tuple(Word(phone, 0.0, 0.1, 0.5) for phone in ("q", "b", "a"))
    heard = [Hypothesis("q b a", -1.0, 0.5, words=words)]
    scored = Scoring(folded, "phones").score(cut("1", "B q q a"), heard)
    assert ([word.text for word in scored.words], scored.right) == (["b", "a"], [True, True])


def test_what_cannot_be_recognised_is_deleted_in_full():
    lost = Scoring(WER, "characters").score(cut("1", "a b c"), [])
    totals = total_scores([lost, score(2, "a", "a")])
    assert totals.errors == ErrorCounts(0, 3, 0, 4)
    assert (totals.unrecognised, lost.oracle.total) == (1, 3)


def test_groups_come_with_the_worst_first_and_keep_what_lacks_the_field():
    scored = [
        score(1, "a b", "a b", room="hall"),
        score(2, "a b", "c d", room="car"),
        score(3, "a b", "a c"),
    ]
    assert list(group_rates(scored, "room")) == ["car", "-", "hall"]
    assert fields_of(cut("1", "a", "she", age=30))["age"] == "30"


def test_a_damaged_record_of_options_is_no_reason_to_replace_a_result(tmp_path):
    files = place_results(tmp_path, ["dev", "greedy"], {"a": 1})
    assert files.rows.name == "dev.greedy.jsonl"
    files.rows.write_text("mine")
    for broken in ("", "{", "[]", '{"options": {"a": 2}}'):
        files.facts.write_text(broken)
        assert place_results(tmp_path, ["dev", "greedy"], {"a": 1}).name == "dev.greedy-2"
    files.facts.write_text('{"options": {"a": 1}}')
    assert place_results(tmp_path, ["dev", "greedy"], {"a": 1}).name == "dev.greedy"
    assert len(place_results(tmp_path, ["ä" * 300], {}).rows.name.encode()) < 255


def test_evaluations_at_the_same_time_do_not_take_one_name(tmp_path):
    first, second = (place_results(tmp_path, ["dev", "beam"], {"weight": w}) for w in (1, 2))
    assert (first.name, second.name) == ("dev.beam", "dev.beam-2")
    release(first)
    assert place_results(tmp_path, ["dev", "beam"], {"weight": 3}).name == "dev.beam"


def test_an_evaluation_that_fails_leaves_no_name_taken(evaluated, tmp_path, monkeypatch):
    def fail(*_):
        raise CorpusError("nothing is heard")

    monkeypatch.setattr("recipes.common.evaluate.evaluation.score_cuts", fail)
    assert "nothing is heard" in evaluated("--split", "dev,train", code=2)
    assert not list(tmp_path.iterdir())


def test_a_summary_with_other_columns_is_kept(tmp_path):
    (tmp_path / "summary.csv").write_text("result,mine\nold,1\n")
    add_summary(tmp_path, {"time": "now", "result": "new"})
    assert (tmp_path / "summary.csv").read_text() == "result,mine\nold,1\nnew,\n"
    damaged = b"\xff\xfe,\x80\n"
    (tmp_path / "summary.csv").write_bytes(damaged)
    add_summary(tmp_path, {"time": "now", "result": "new"})
    assert (tmp_path / "summary.csv").read_bytes().startswith(damaged)


@pytest.mark.parametrize("text", ["", ",", "a,", "a/b", ".a"])
def test_names_that_cannot_be_files(text):
    with pytest.raises(ConfigError):
        names_in(text, "split")


def test_a_name_twice_is_once():
    assert names_in("dev, test,dev", "split") == ("dev", "test")


def test_a_corpus_folder_knows_its_own_splits(toy, run, tmp_path, capsys):
    where = ["--run", str(run), "--corpus", str(tmp_path / "corpus"), "--results", str(tmp_path)]

    def strange(corpus, split):
        raise CorpusError(f"unknown split {split!r}", remedy="choose test-clean")

    assert main(toy.recipe(strange), ["evaluate", *where, "--split", "dev,x"]) == 2
    assert "unknown split 'dev'" in capsys.readouterr().err


@pytest.fixture
def pronounced(toy, tmp_path):
    """A checkpoint of a model of phones, and data whose texts are words with their phones."""
    corpus, phones, words = (tmp_path / name for name in ("corpus", "phones", "words"))
    heard = toy.utterances(corpus, "dev")
    for folder in (phones, words):
        folder.mkdir()
        Tokenizer(["<blank>", "p", "q"], "phones").save(folder / "tokens.txt")
    said = {u.id: " ".join("pq"["ab".index(letter)] for letter in u.text) for u in heard}
    spoken = [replace(u, text=said[u.id]) for u in heard]
    for split in ("train", "dev"):
        write_manifest(manifest_path(phones, split), spoken)
    checkpoint, _ = toy.checkpoint(phones, tmp_path / "best.ckpt")
    written = [replace(u, text=" ".join(u.text), fields={PHONES: said[u.id]}) for u in heard]
    write_manifest(manifest_path(words, "dev"), written)
    (tmp_path / "lexicon.txt").write_text("a p\nb q\n")
    return words, checkpoint


def test_a_model_of_phones_is_scored_in_words_where_its_decoder_writes_words(
    toy, pronounced, tmp_path, capsys
):
    data, checkpoint = pronounced
    where = ["--data", str(data), "--checkpoint", str(checkpoint), "--results", str(tmp_path)]
    command = ["evaluate", *where, "--backend", "torch"]
    assert main(toy.recipe(), command) == 0
    told = capsys.readouterr().out
    assert re.search(r"PER +│ [0-9]", told)
    assert re.search(r"scored in +│ phones", told)
    assert main(toy.recipe(), [*command, "--lexicon", str(tmp_path / "lexicon.txt")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"WER +│ [0-9]", told)
    assert re.search(r"scored in +│ words", told)
    phones = rows_of(tmp_path / "dev.greedy.jsonl")
    words = rows_of(tmp_path / "dev.beam-16-lexicon.jsonl")
    for row, other in zip(phones, words, strict=True):
        assert row["reference"] == other["reference"].replace("a", "p").replace("b", "q")
        assert set(other["hypothesis"].split()) <= {"a", "b"}
        assert set(row["hypothesis"].split()) <= {"p", "q"}
    summary = table_of(tmp_path / "summary.csv")
    assert [(line["metric"], line["scored_in"]) for line in summary] == [
        ("PER", "phones"),
        ("WER", "words"),
    ]


def test_phones_are_not_held_against_words(toy, pronounced, data, run, tmp_path, capsys):
    _, checkpoint = pronounced
    results = ["--results", str(tmp_path)]
    command = ["evaluate", "--data", str(data), "--checkpoint", str(checkpoint), *results]
    assert main(toy.recipe(), command) == 2
    assert "the phones of dev are not known" in capsys.readouterr().err
    timit = replace(toy.recipe(), token_kind="phones")
    command = ["evaluate", "--data", str(data), "--run", str(run), *results]
    assert main(timit, command) == 2
    assert "the texts of toy are phones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "x.jsonl", "--nist"], "--output is one file, and --nist writes several"),
        (["--noise", "noise"], "--noise without --conditions"),
    ],
)
def test_options_that_would_do_nothing_are_refused(evaluated, tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    error = evaluated(*options, code=2)
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_texts_in_another_case_than_the_models_are_told(toy, tmp_path, capsys):
    samples = Path("models/english/samples")
    name, text = (samples / "samples.tsv").read_text().splitlines()[1].split("\t")[:2]
    assert text.isupper()
    for folder, said in (("lower", text.lower()), ("upper", text)):
        utterance = Utterance("u", samples / name, said, None)
        write_manifest(manifest_path(tmp_path / folder, "dev"), [utterance])
    command = ["evaluate", "--bundle", "models/english", "--results", str(tmp_path / "results")]
    assert main(toy.recipe(), [*command, "--data", str(tmp_path / "lower")]) == 0
    told = capsys.readouterr().err
    assert "the model writes upper case and the texts are lower case" in told
    assert "prepare with --case upper" in told
    assert main(toy.recipe(), [*command, "--data", str(tmp_path / "upper")]) == 0
    assert "case" not in capsys.readouterr().err


@pytest.fixture
def trained(run, data, tmp_path):
    """The run, with options that say what it was trained on."""
    folder = shutil.copytree(run, tmp_path / "trained")
    (folder / "config.yaml").write_text(f"data: {{data_dir: {data}}}\n")
    return folder


@pytest.mark.parametrize("how", ["--run", "--checkpoint"])
def test_what_is_evaluated_is_of_the_data_that_the_run_was_trained_on(
    toy, trained, data, tmp_path, monkeypatch, capsys, how
):
    """Not of the folder that the recipe would prepare, unless that of the run is gone."""
    monkeypatch.chdir(tmp_path)
    model = trained if how == "--run" else trained / "checkpoints" / "best.ckpt"
    command = ["evaluate", how, str(model), "--results", "results"]
    assert main(toy.recipe(), command) == 0
    assert "warning" not in capsys.readouterr().err
    facts = json.loads((tmp_path / "results" / "dev.greedy.json").read_text())
    assert facts["options"]["corpus"] == str(data)
    (trained / "config.yaml").write_text("data: {data_dir: /nowhere}\n")
    assert main(toy.recipe(), command) == 2
    assert "exp/an4/data/dev.jsonl.gz: no such manifest" in capsys.readouterr().err


def test_who_evaluates_what_the_model_was_trained_on_is_told(toy, trained, data, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    shutil.copy(manifest_path(data, "train"), manifest_path(other, "dev"))
    command = ["evaluate", "--run", str(trained), "--data", str(other)]
    assert main(toy.recipe(), command) == 0
    told = capsys.readouterr().err
    assert "warning: the model was trained on 24 of the 24 utterances of dev" in told
    assert told.count("\n") == 1
