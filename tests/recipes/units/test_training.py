"""From texts to a bundle in each kind of unit, on the toy corpus and on synthetic Russian."""

from __future__ import annotations

import json
import sys

import pytest

from asr.audio import read_audio, write_wav
from asr.recognizer import Recognizer
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import Utterance, read_manifest
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.demo.espeak import Voice, speak

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


def rows(folder, split="dev"):
    [path] = folder.rglob(f"{split}*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    """Every word of the toy corpus as its letters' names."""
    path = tmp_path_factory.mktemp("lexicon") / "words.dict"
    every = [a + b + c for a in "ab" for b in ["", "a", "b"] for c in ["", "a", "b"]]
    names = {"a": "AY", "b": "BEE"}
    lines = {f"{word} {' '.join(names[c] for c in word)}" for word in every}
    path.write_text("\n".join(sorted(lines)) + "\n")
    return path


def test_phones_are_trained_and_scored_as_phones_and_as_words(toy, tmp_path, lexicon, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    units = ["--units", "phones", "--lexicon", str(lexicon)]
    where = ["--corpus", str(tmp_path / "corpus"), "--data", str(data)]
    assert main(toy.recipe(), ["prepare", *where, *units]) == 0
    assert toy.fit(data, run, "--trainer.max_epochs", "4") == 0
    said = capsys.readouterr().out
    assert "best development PER (greedy)" in said

    evaluate = ["evaluate", "--run", str(run), "--data", str(data)]
    greedy = [*evaluate, "--decoder", "greedy"]
    assert main(toy.recipe(), [*greedy, "--results", str(tmp_path / "greedy")]) == 0
    assert "PER" in capsys.readouterr().out
    for row in rows(tmp_path / "greedy"):
        assert set((row["reference"] + " " + row["hypothesis"]).split()) <= {"AY", "BEE"}

    words = [*evaluate, "--decoder", "beam", "--lexicon", str(data / "lexicon.txt")]
    assert main(toy.recipe(), [*words, "--results", str(tmp_path / "words")]) == 0
    assert "WER" in capsys.readouterr().out
    assert main(toy.recipe(), [*evaluate, "--results", str(tmp_path / "usual")]) == 0
    assert rows(tmp_path / "usual") == rows(tmp_path / "words")

    export = ["export", "--run", str(run), "--data", str(data), "--output", str(tmp_path / "b")]
    assert main(toy.recipe(), export) == 0
    [cut, *_] = read_manifest(manifest_path(data, "dev"))
    heard = Recognizer.load(tmp_path / "b").recognize([read_audio(cut.recording.sources[0].source)])
    assert heard[0].text == rows(tmp_path / "words")[0]["hypothesis"]
    capsys.readouterr()
    known = {line.split()[0] for line in (data / "lexicon.txt").read_text().splitlines()}
    for row in rows(tmp_path / "words"):
        assert set(row["reference"]) <= {"a", "b"}
        assert set(row["hypothesis"].split()) <= known

    assert main(toy.recipe(), [*greedy, "--corpus", str(tmp_path / "corpus")]) == 2
    assert "phones" in capsys.readouterr().err


def test_subwords_are_trained_exported_and_recognised_without_sentencepiece(
    toy, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("sentencepiece")
    data, run, bundle = tmp_path / "data", tmp_path / "run", tmp_path / "bundle"
    where = ["--corpus", str(tmp_path / "corpus"), "--data", str(data)]
    units = ["--units", "subwords", "--vocab-size", "6"]
    assert main(toy.recipe(), ["prepare", *where, *units]) == 0
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert toy.fit(data, run, "--trainer.max_epochs", "1") == 0
    assert toy.fit(data, run, "--trainer.max_epochs", "3", "--resume", "true") == 0
    greedy = ["evaluate", "--run", str(run), "--data", str(data)]
    assert main(toy.recipe(), [*greedy, "--results", str(tmp_path / "results")]) == 0
    assert all(set(row["hypothesis"]) <= set("ab ") for row in rows(tmp_path / "results"))
    assert main(toy.recipe(), ["export", "--run", str(run), "--output", str(bundle)]) == 0
    recognizer = Recognizer.load(bundle)
    assert recognizer.tokenizer.kind == "subwords"
    wav = next((tmp_path / "corpus").glob("dev*.wav"))
    [transcript] = recognizer.recognize([read_audio(wav)])
    best = transcript.hypotheses[0]
    assert [word.text for word in best.words] == best.text.split()


RUSSIAN = ["Включи свет!", "Выключи музыку…", "«Который час?»", "Открой 2 окна"]


def russian(corpus, split):
    corpus.mkdir(exist_ok=True)
    found = []
    for number, text in enumerate(RUSSIAN * (4 if split == "train" else 1)):
        path = corpus / f"{split}{number}.wav"
        if not path.exists():
            pitch = 40 + 5 * (number // 4) if split == "train" else 52
            write_wav(path, speak(text, Voice("ru", rate=280, pitch=pitch)))
        found.append(Utterance(path.stem, path, text, split))
    return found


def test_a_second_language_from_recordings_to_a_bundle(toy, tmp_path, capsys):
    pytest.importorskip("num2words")
    recipe = Recipe("an4", "Russian", russian, "characters", WER)
    data, run, bundle = tmp_path / "data", tmp_path / "run", tmp_path / "bundle"
    form = ["--case", "lower", "--punctuation", "dropped", "--numbers", "ru"]
    where = ["--corpus", str(tmp_path / "corpus")]
    assert main(recipe, ["prepare", *where, "--data", str(data), *form]) == 0
    assert "letters, Cyrillic" in capsys.readouterr().out
    options = [*toy.OPTIONS, "--data.data_dir", str(data), "--run_dir", str(run)]
    more = [
        "--trainer.max_epochs",
        "40",
        "--data.batch_size",
        "4",
        "--model.network.hidden_size",
        "48",
    ]
    assert main(recipe, ["fit", *options, *more]) == 0
    # Read from the corpus itself, texts get the form that the model was trained on.
    of_corpus = ["evaluate", "--run", str(run), *where, "--results", str(tmp_path / "results")]
    assert main(recipe, of_corpus) == 0
    found = rows(tmp_path / "results")
    assert [row["reference"] for row in found] == [
        "включи свет",
        "выключи музыку",
        "который час",
        "открой два окна",
    ]
    assert sum(row["errors"] for row in found) <= 2
    assert main(recipe, ["export", "--run", str(run), "--output", str(bundle)]) == 0
    assert json.loads((bundle / "config.json").read_text())["metadata"]["text"]["numbers"] == "ru"
    waveform = read_audio(tmp_path / "corpus" / "train0.wav")
    [transcript] = Recognizer.load(bundle).recognize([waveform])
    assert transcript.text == "включи свет"
