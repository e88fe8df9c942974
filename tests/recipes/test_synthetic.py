"""Synthetic speech: which sentences are read, how, and that the recipe reads what is written."""

import lzma
import stat
import sys

import numpy as np
import pytest

from asr.audio import read_audio
from asr.types import Waveform
from recipes.english.__main__ import RECIPE, main
from recipes.english.corpus import CORPORA, DEV, united
from recipes.english.synthetic import Reading, sentences, speak

FLITE = """#!{python}
import sys, wave, array
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
stretch = float(words["--setf"].partition("=")[2])
file = wave.open(words["-o"], "wb")
file.setparams((1, 2, 16000, 0, "NONE", ""))
count = int(16000 * stretch * len(words["-t"].split()) / 5)
file.writeframes(array.array("h", [1000 * (n // 20 % 2) for n in range(count)]).tobytes())
"""


@pytest.fixture
def flite(tmp_path, monkeypatch):
    """A program that takes 0.2 s for a word at the usual speed."""
    path = tmp_path / "bin" / "flite"
    path.parent.mkdir()
    path.write_text(FLITE.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


@pytest.fixture
def text(tmp_path):
    """A thousand sentences of five words, with lines that are too short and too long."""
    lines = [f"THE SENTENCE IS NUMBER {'ABCDEFGHIJ'[n % 10]}{n}" for n in range(1000)]
    path = tmp_path / "text.xz"
    with lzma.open(path, "wt") as file:
        file.write("\n".join(["TOO SHORT", "W " * 16, *lines, *lines[:5]]) + "\n")
    return path


def synthesise(text, folder, *more):
    words = ["synthesise", str(text), "--output", str(folder), "--voices", "slt", "rms", *more]
    return main(RECIPE, words)


def test_the_recipe_trains_on_what_is_written_and_develops_on_none_of_it(flite, text, tmp_path):
    folder = tmp_path / "speech"
    assert synthesise(text, folder, "--hours", "0.005") == 0
    splits = united({"synthetic": folder})
    assert set(splits) == {"train", DEV}
    assert splits[DEV] == []
    found = splits["train"]
    assert len({u.id for u in found}) == len({u.text for u in found}) == len(found)
    assert {u.speaker for u in found} == {"synthetic-slt", "synthetic-rms"}
    heard = [read_audio(u.audio) for u in found]
    assert {waveform.sample_rate for waveform in heard} == {16_000}
    seconds = [waveform.duration for waveform in heard]
    assert 18 <= sum(seconds) <= 18 + max(seconds)
    assert 1 / 1.2 - 0.01 < min(seconds) < max(seconds) < 1 / 0.85 + 0.01
    assert [u.text for u in CORPORA["synthetic"](folder, "train")] == [u.text for u in found]


def test_the_same_seed_gives_the_same_speech(flite, text, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert synthesise(text, tmp_path / name, "--hours", "0.002", "--seed", seed) == 0
    a, b, c = ((tmp_path / n / "table.tsv").read_text() for n in "abc")
    assert a == b != c
    first = [(tmp_path / n / "audio" / "000000.wav").read_bytes() for n in "ab"]
    assert first[0] == first[1]


def test_pitch_and_speed_do_not_change_each_other():
    def voice(text, speed):  # a tone of 200 Hz, of a second at the usual speed
        time = np.arange(int(16_000 / speed)) / 16_000
        return Waveform(np.sin(2 * np.pi * 200 * time).astype("f4"), 16_000)

    for speed, pitch in ((1.0, 1.0), (1.2, 0.9), (0.85, 1.1)):
        heard = speak(Reading("a", "v", speed, pitch), voice)
        assert heard.sample_rate == 16_000
        assert heard.duration == pytest.approx(1 / speed, abs=2e-3)
        spectrum = np.abs(np.fft.rfft(heard.samples))
        assert spectrum.argmax() / heard.duration == pytest.approx(200 * pitch, abs=1.0)


def test_sentences_are_drawn_from_all_of_the_text(text):
    found = sentences(text, 100, seed=0)
    numbers = [int(line.split()[-1][1:]) for line in found]
    assert {len(line.split()) for line in found} == {5}
    assert len(set(found)) == len(found)
    assert min(numbers) < 100
    assert max(numbers) >= 900
    assert len(sentences(text, 5000, seed=0)) == 1000


def test_what_cannot_be_is_refused(flite, text, tmp_path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    assert synthesise(text, tmp_path / "there") == 2
    assert "this is there" in capsys.readouterr().err
    assert synthesise(tmp_path / "none.txt", tmp_path / "a") == 2
    assert "none.txt: cannot be read" in capsys.readouterr().err
    for hours in ("0", "-1", "nan", "inf"):
        assert synthesise(text, tmp_path / "a", "--hours", hours) == 2
        assert "--hours is" in capsys.readouterr().err
    few = tmp_path / "few.txt"
    few.write_text("A SENTENCE OF FIVE WORDS\n")
    assert synthesise(few, tmp_path / "b") == 2
    assert "give more texts" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert synthesise(text, tmp_path / "c") == 2
    assert "flite is not installed" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    monkeypatch.setitem(sys.modules, "hibari", None)
    words = ["synthesise", str(text), "--output", str(tmp_path / "c"), "--voices", "hibari"]
    assert main(RECIPE, words) == 2
    assert "hibari is not installed" in capsys.readouterr().err
