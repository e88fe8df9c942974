"""`prepare` reads all of a corpus and names all that is broken, before it writes anything."""

import gzip
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.tokens import Tokenizer
from asr.types import CorpusError
from recipes.an4.__main__ import RECIPE
from recipes.common import cli
from recipes.common.audio import load_samples
from recipes.common.data import manifest_path, tokens_path
from recipes.common.manifests import Utterance, read_manifest
from recipes.common.metric import WER
from recipes.common.prepare import prepare
from recipes.common.recipe import Recipe

RATE = 16_000


def noise(seconds, channels=1, seed=0):
    shape = (int(seconds * RATE), channels)
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype("f4")


class Corpus:
    """Utterances by split, their audio in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.splits = {"train": [], "dev": []}

    def add(self, split, name, text="GO", samples=None, suffix=".wav", rate=RATE, **how):
        path = self.folder / f"{name}{suffix}"
        soundfile.write(path, noise(0.5) if samples is None else samples, rate, **how)
        self.splits[split].append(Utterance(name, path, text, f"{split}-speaker"))
        return path

    def recipe(self, token_kind="characters"):
        return Recipe("toy", "toy", lambda corpus, split: self.splits[split], token_kind, WER)

    def prepare(self, *options):
        where = ["--corpus", str(self.folder), "--data", str(self.folder / "data")]
        return cli.main(self.recipe(), ["prepare", *where, *options])


@pytest.fixture
def corpus(tmp_path):
    made = Corpus(tmp_path)
    made.add("train", "good")
    made.add("dev", "fine")
    return made


def break_all_ways(corpus):
    """Adds one file of each fault; returns the names."""
    corpus.add("train", "nine-channels", samples=noise(0.2, channels=9))
    corpus.add("train", "slow", rate=3_000)
    nan = noise(0.2)
    nan[700] = np.nan
    corpus.add("dev", "nan", samples=nan, subtype="FLOAT")
    corpus.add("dev", "empty", samples=np.zeros((0, 1), "f4"))
    path = corpus.add("train", "cut", suffix=".flac", samples=noise(2.0))
    path.write_bytes(path.read_bytes()[:20_000])
    corpus.add("train", "rubbish").write_bytes(b"rubbish" * 99)
    corpus.add("dev", "gone").unlink()
    return ["nine-channels", "slow", "nan", "empty", "cut", "rubbish", "gone"]


def test_everything_broken_is_named_in_one_list_and_nothing_is_written(corpus, capsys):
    names = break_all_ways(corpus)
    assert corpus.prepare() == 2
    message = capsys.readouterr().err
    assert f"{len(names)} of {len(names) + 2} recordings cannot be used" in message
    for name in names:
        (line,) = [line for line in message.splitlines() if line.strip().startswith(f"{name}:")]
        path = next(u.audio for us in corpus.splits.values() for u in us if u.id == name)
        assert str(path) in line
        assert len(line.split(str(path))[1]) > 10  # a reason
    assert not (corpus.folder / "data").exists()


def test_what_is_broken_can_be_left_out_by_name(corpus, capsys):
    names = break_all_ways(corpus)
    assert corpus.prepare("--skip-bad") == 0
    message = capsys.readouterr().err
    assert all(f"{name}:" in message for name in names)
    for split, left in (("train", "good"), ("dev", "fine")):
        cuts = read_manifest(manifest_path(corpus.folder / "data", split))
        assert [cut.id for cut in cuts] == [left]


def test_a_split_of_broken_audio_alone_is_refused(corpus):
    for utterance in corpus.splits["dev"]:
        utterance.audio.write_bytes(b"x")
    assert corpus.prepare("--skip-bad") == 2
    assert not (corpus.folder / "data").exists()


def flac(seconds, total_samples):
    """A FLAC file whose header claims ``total_samples``, 36 bits; 0 stands for unknown."""
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seconds), RATE, format="FLAC")
    data = bytearray(buffer.getvalue())
    field = int.from_bytes(data[18:26], "big") >> 36 << 36 | total_samples
    data[18:26] = field.to_bytes(8, "big")
    return bytes(data)


@pytest.mark.parametrize("claimed", [0, 2**36 - 1])
def test_hours_are_those_of_the_samples_whatever_a_header_says(corpus, capsys, claimed):
    corpus.add("train", "odd", suffix=".flac").write_bytes(flac(1.5, claimed))
    if claimed:
        assert corpus.prepare() == 2
        assert "odd.flac" in capsys.readouterr().err
    else:
        assert corpus.prepare() == 0
        cut = read_manifest(manifest_path(corpus.folder / "data", "train"))[1]
        assert cut.duration == pytest.approx(1.5)


def test_several_channels_are_written_as_such_and_averaged(corpus):
    samples = noise(0.3, channels=2)
    corpus.add("train", "stereo", samples=samples, subtype="FLOAT")
    assert corpus.prepare() == 0
    cut = read_manifest(manifest_path(corpus.folder / "data", "train"))[1]
    assert cut.channel == [0, 1]
    np.testing.assert_allclose(load_samples(cut).samples, samples.mean(axis=1), atol=1e-7)


def test_texts_of_all_splits_are_normalised_alike(corpus, capsys):
    corpus.add("train", "composed", "CAF\u00c9 \t OL\u00c9\u00a0")
    corpus.add("dev", "decomposed", "\ufeffCAFE\u0301\u3000\u200bOLE\u0301")
    assert corpus.prepare() == 0
    assert "dev: 2 invisible characters" in capsys.readouterr().out
    data = corpus.folder / "data"
    tokenizer = Tokenizer.load(tokens_path(data))
    assert set(tokenizer.tokens[1:]) == {"<space>", *"CAF\u00c9OLG"}
    for split in ("train", "dev"):
        text = read_manifest(manifest_path(data, split))[1].supervisions[0].text
        assert text == "CAF\u00c9 OL\u00c9"
        assert not tokenizer.unknown(text)


@pytest.mark.parametrize("text", ["", "\u00a0 \u200b", "\ufeff"])
def test_texts_that_are_all_empty_are_said_to_be(tmp_path, text):
    corpus = Corpus(tmp_path)
    corpus.add("train", "a", text)
    corpus.add("dev", "b")
    with pytest.raises(CorpusError, match="all 1 texts of the training part are empty"):
        prepare(corpus.recipe(), tmp_path, tmp_path / "data")


def test_a_phone_of_the_blanks_name_is_refused_with_its_utterance(tmp_path):
    corpus = Corpus(tmp_path)
    corpus.add("train", "odd", "a <blank> b")
    corpus.add("dev", "b", "a")
    with pytest.raises(CorpusError, match="odd has a phone called <blank>"):
        prepare(corpus.recipe("phones"), tmp_path, tmp_path / "data")


@pytest.mark.parametrize("symbol", ["[", "[/]", "[/b] [bold]"])
def test_texts_may_have_what_terminals_take_for_markup(corpus, capsys, symbol):
    corpus.add("train", "odd", symbol)
    assert corpus.prepare() == 0
    tokens = capsys.readouterr().out.rpartition("blank: ")[2].split()
    assert set(symbol) - {" "} <= set(tokens)


def test_a_folder_that_cannot_be_written_is_named(corpus, capsys):
    (corpus.folder / "data").write_text("a file")
    assert corpus.prepare() == 2
    assert str(corpus.folder / "data") in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_and_terminals_of_any_encoding(tmp_path, monkeypatch, encoding):
    corpus = Path(os.fsdecode(os.fsencode(tmp_path) + b"/B\xfccher \xe2\x86\x92"))
    for part in ("train", "test"):
        ids, texts = [], []
        for speaker in ("fa", "mb"):
            folder = corpus / "wav" / speaker
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / f"{speaker}.wav", "wb") as file:
                soundfile.write(file, noise(0.3), RATE, format="WAV")
            ids.append(f"{speaker}/{speaker}\n")
            texts.append(f"<s> \u2192 \u00c9 </s> ({speaker})\n")
        (corpus / "etc").mkdir(exist_ok=True)
        (corpus / "etc" / f"an4_{part}.fileids").write_text("".join(ids))
        (corpus / "etc" / f"an4_{part}.transcription").write_text("".join(texts), "utf-8")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    where = ["--corpus", str(corpus), "--data", str(corpus / "data")]
    assert cli.main(RECIPE, ["prepare", *where]) == 0
    for split in ("train", "dev"):
        (cut,) = read_manifest(manifest_path(corpus / "data", split))
        assert Path(cut.recording.sources[0].source).is_file()
        assert cut.supervisions[0].text == "\u2192 \u00c9"


def test_a_manifest_is_plain_ascii(corpus):
    corpus.add("train", "accents", "\u00c9")
    assert corpus.prepare() == 0
    rows = gzip.decompress(manifest_path(corpus.folder / "data", "train").read_bytes())
    assert rows.isascii()
    assert json.loads(rows.splitlines()[1])["supervisions"][0]["text"] == "\u00c9"


def test_a_disk_that_is_full_is_said_and_leaves_what_was_there(corpus, capsys, monkeypatch):
    assert corpus.prepare() == 0
    path = manifest_path(corpus.folder / "data", "train")
    before, files = path.read_bytes(), sorted((corpus.folder / "data").iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recipes.common.manifests.json.dumps", full)
    assert corpus.prepare() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert sorted((corpus.folder / "data").iterdir()) == files


def test_what_is_left_out_is_listed_in_a_file_of_the_data(corpus):
    names = break_all_ways(corpus)
    assert corpus.prepare("--skip-bad") == 0
    listed = corpus.folder / "data" / "left_out.tsv"
    header, *rows = [row.split("\t") for row in listed.read_text().splitlines()]
    assert header == ["id", "where", "why"]
    assert sorted(row[0] for row in rows) == sorted(names)
    assert all(str(corpus.folder) in row[1] and len(row[2]) > 10 for row in rows)
    for us in corpus.splits.values():
        us[:] = [u for u in us if u.id not in names]
    assert corpus.prepare() == 0
    assert not listed.exists()  # a list of before would lie


def test_a_part_of_a_recording_is_checked_against_its_end(corpus, capsys):
    path = corpus.add("train", "long", samples=noise(3.0))
    spans = {"a": (0.5, 1.0), "to-the-end": (2.0, None), "over-by-a-little": (2.5, 0.6)}
    wrong = {"after": (3.5, 0.5), "beyond": (2.0, 2.0), "negative": (-1.0, 1.0), "none": (1.0, 0.0)}
    corpus.splits["train"].pop()
    for name, (start, duration) in {**spans, **wrong}.items():
        part = Utterance(name, path, "GO", None, start=start, duration=duration)
        corpus.splits["train"].append(part)
    assert corpus.prepare() == 2
    message = capsys.readouterr().err
    assert all(f"  {name}: {path}: " in message for name in wrong)
    assert not any(f"  {name}: " in message for name in spans)
    assert corpus.prepare("--skip-bad") == 0
    cuts = read_manifest(manifest_path(corpus.folder / "data", "train"))
    lengths = {cut.id: len(load_samples(cut).samples) / RATE for cut in cuts}
    assert lengths == {"good": 0.5, "a": 1.0, "to-the-end": 1.0, "over-by-a-little": 0.5}


def test_a_recording_in_two_splits_is_refused_whatever_it_is_called_there(corpus, capsys):
    path = corpus.splits["train"][0].audio
    corpus.splits["dev"].append(Utterance("another", path, "GO", "another-speaker"))
    assert corpus.prepare() == 2
    error = capsys.readouterr().err
    assert f"{path}: this recording is in both train and dev" in error
    assert error.count("\n") == 1
    assert not (corpus.folder / "data").exists()


def test_parts_of_a_recording_may_be_in_two_splits(corpus):
    path = corpus.add("train", "long", samples=noise(1.0))
    for split, start in (("train", 0.0), ("dev", 0.5)):
        part = Utterance(f"{split}-part", path, "GO", f"{split}-speaker", start=start, duration=0.5)
        corpus.splits[split].append(part)
    assert corpus.prepare() == 0
