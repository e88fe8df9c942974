"""A bundle of phones with a pronunciation lexicon and a language model of words, from the command
line to the bundle that carries both."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from asr.audio import write_wav
from asr.bundle import load_bundle, save_bundle
from asr.cli.main import main
from asr.decoding import BeamOptions, Phrase
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import read_lexicon
from asr.recognizer import Recognizer
from asr.tokens import Tokenizer

PHONES = Tokenizer(["<blank>", "SIL", "AA", "B", "K", "D", "EH"], "phones")
LEXICON = "BED B EH D\nCAB K AA B\nKABB K AA B\nA AA\nA(2) EH\nODD AA D\nEBB EH B\n"
TEXT = "A BED\nA CAB\nODD EBB\nCAB BED\nA KABB\nBED A CAB\n"


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def place(tmp_path, monkeypatch, capsys, bundle_of, waveform_of) -> Path:
    """A folder with a bundle of phones, audio, a lexicon, a language model and pairs."""
    monkeypatch.chdir(tmp_path)
    save_bundle(replace(bundle_of(), tokenizer=PHONES), tmp_path / "bundle")
    for n in (1, 2):
        write_wav(tmp_path / f"{n}.wav", waveform_of(n, 1.5))
    Path("lexicon.txt").write_text(LEXICON)
    Path("text").write_text(TEXT)
    Path("pairs").write_text("1.wav\tA BED\n2.wav\tCAB\n")
    train = ("lm", "train", "text", "--order", 2, "--output", "lm.arpa", "--discount-fallback")
    assert run(capsys, *train)[0] == 0
    return tmp_path


def best(capsys, *arguments: object) -> dict:
    status, out, err = run(capsys, "transcribe", *arguments, "--format", "json")
    assert (status, err) == (0, "")
    return json.loads(out)["hypotheses"][0]


def test_phones_become_words(place, capsys):
    found = best(capsys, "bundle", "1.wav", "--lexicon", "lexicon.txt", "--lm", "lm.arpa")
    words = found["text"].split()
    assert words
    assert set(words) <= {"BED", "CAB", "KABB", "A", "ODD", "EBB"}
    assert [word["text"] for word in found["words"]] == words
    assert found["lm_score"] < 0
    alone = best(capsys, "bundle", "1.wav", "--lexicon", "lexicon.txt", "--word-score", 1)
    assert alone["lm_score"] == 0
    assert alone["bonus_score"] == len(alone["text"].split())
    boosted = best(
        capsys, "bundle", "1.wav", "--lexicon", "lexicon.txt", "--phrase", "EBB A", *("--nbest", 2)
    )
    assert boosted["bonus_score"] == pytest.approx(1.5 * 3 * boosted["text"].count("EBB A"))


def test_what_is_tuned_is_carried_by_the_bundle(place, capsys):
    language = ("--lm", "lm.arpa", "--lexicon", "lexicon.txt")
    grid = ("--lm-weights", 0, 0.5, "--scores", -1, 0, "--beam-widths", 4, 8)
    call = ("tune", "bundle", "--pairs", "pairs", *language, *grid, "--output", "tuned")
    status, out, _ = run(capsys, *call)
    assert status == 0
    decoder = load_bundle("tuned").decoder
    assert isinstance(decoder, BeamOptions)
    assert decoder.token_score == 0  # words are what is weighed
    assert f"word_score    {decoder.word_score:g}" in out
    options = ("--lm-weight", decoder.lm_weight, "--word-score", decoder.word_score)
    options += ("--beam-width", decoder.beam_width)
    expected = run(capsys, "transcribe", "bundle", "1.wav", "2.wav", *language, *options)
    assert run(capsys, "transcribe", "tuned", "1.wav", "2.wav") == expected
    save_bundle(load_bundle("tuned"), "again")
    for file in Path("tuned").iterdir():
        assert (Path("again") / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("of_bundle", [{"word_score": -0.2}, {"token_score": 1.0}])
def test_a_score_of_the_bundle_that_another_search_has_not_is_left_out(place, capsys, of_bundle):
    """A model of phones has a score for words with a lexicon, and for tokens without; one that is
    asked for is refused."""
    [name] = of_bundle
    Path("phones").write_text("AA B EH D\nK AA B EH D\n")
    train = ("lm", "train", "phones", "--units", "phones", "--output", "ph.arpa")
    assert run(capsys, *train, "--order", 2, "--discount-fallback")[0] == 0
    save_bundle(replace(load_bundle("bundle"), decoder=BeamOptions(**of_bundle)), "scored")
    language = ("--lm", "ph.arpa", "--lm-units", "tokens")
    if name == "token_score":
        language = ("--lexicon", "lexicon.txt")
    found = best(capsys, "scored", "1.wav", *language)
    assert found["bonus_score"] == 0
    option = f"--{name.replace('_', '-')}"
    assert found == best(capsys, "bundle", "1.wav", *language, "--decoder", "beam", option, 0)
    status, _, err = run(capsys, "transcribe", "scored", "1.wav", *language, option, 1)
    assert (status, f"set {name} to 0" in err) == (2, True)
    if name == "word_score":
        grid = ("--lm-weights", 0.5, "--scores", 0.5, "--beam-widths", 8, "--output", "tuned")
        assert run(capsys, "tune", "scored", "--pairs", "pairs", *language, *grid)[0] == 0
        decoder = load_bundle("tuned").decoder
        assert (decoder.word_score, decoder.token_score) == (0, 0.5)
        assert best(capsys, "tuned", "1.wav")["text"]


def test_another_language_model_keeps_the_bundles_pronunciations(place, capsys):
    both = ("--lm", "lm.arpa", "--lexicon", "lexicon.txt")
    grid = ("--lm-weights", 0.5, "--scores", 0, "--beam-widths", 8)
    assert run(capsys, "tune", "bundle", "--pairs", "pairs", *both, *grid)[0] == 0
    Path("other").write_text("ODD EBB\nEBB A ODD\nA CAB\n")
    train = ("lm", "train", "other", "--order", 2, "--output", "other.arpa", "--discount-fallback")
    assert run(capsys, *train)[0] == 0
    alone = best(capsys, "bundle", "1.wav", "--lm", "other.arpa")
    given = best(capsys, "bundle", "1.wav", "--lm", "other.arpa", "--lexicon", "lexicon.txt")
    assert alone["text"]
    assert alone == given
    assert alone["lm_score"] != best(capsys, "bundle", "1.wav")["lm_score"]


def test_another_lexicon_keeps_the_bundles_language_model(place, capsys):
    both = ("--lm", "lm.arpa", "--lexicon", "lexicon.txt")
    grid = ("--lm-weights", 0.5, "--scores", 0, "--beam-widths", 8)
    assert run(capsys, "tune", "bundle", "--pairs", "pairs", *both, *grid)[0] == 0
    Path("more.txt").write_text(LEXICON + "NEW EH D AA\n")
    alone = best(capsys, "bundle", "1.wav", "--lexicon", "more.txt")
    given = best(capsys, "bundle", "1.wav", "--lexicon", "more.txt", "--lm", "lm.arpa")
    assert alone == given
    assert alone["lm_score"] < 0
    status, _, err = run(capsys, "transcribe", "bundle", "1.wav", "--lexicon", "none.txt")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "none.txt" in err


def test_the_recogniser_takes_phrases_with_the_bundles_words(place, capsys, waveform_of):
    grid = ("--lm-weights", 0.5, "--scores", 0, "--beam-widths", 8)
    language = ("--lm", "lm.arpa", "--lexicon", "lexicon.txt")
    assert run(capsys, "tune", "bundle", "--pairs", "pairs", *language, *grid)[0] == 0
    recognizer = Recognizer.load("bundle")
    decoder = recognizer.decoder(BeamOptions(nbest=4), [Phrase("ODD EBB", 30.0)])
    (transcript,) = recognizer.recognize([waveform_of(1, 1.5)], decoder)
    assert "ODD EBB" in transcript.text
    assert len({h.text for h in transcript.hypotheses}) == len(transcript.hypotheses)


@pytest.mark.parametrize(
    ("lexicon", "options", "named"),
    [
        ("BED B EH D\nCAB K AE B\n", (), "bad.txt, line 2: the word 'CAB' has tokens .* 'AE'"),
        ("BED B EH D\nCAB\n", (), "bad.txt, line 2: the word 'CAB' has no phones"),
        ("A AA\nBED B EH D\nA AA\n", (), "bad.txt, line 3: the word 'A' .* twice, first in line 1"),
        ("\n", (), "bad.txt: the lexicon is empty"),
        (LEXICON, ("--token-score", 1), "use word_score"),
        (LEXICON, ("--phrase", "A NUT"), "'NUT' of the phrase 'A NUT' is not in the lexicon"),
        (LEXICON, ("--decoder", "greedy"), "takes no --lm or --lexicon"),
    ],
)
def test_what_cannot_be_is_one_line(place, capsys, lexicon, options, named):
    Path("bad.txt").write_text(lexicon)
    status, out, err = run(
        capsys, "transcribe", "bundle", "1.wav", "--lexicon", "bad.txt", *options
    )
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert re.search(named, err)


def test_a_language_model_of_words_alone_asks_for_a_lexicon(place, capsys):
    status, _, err = run(capsys, "transcribe", "bundle", "1.wav", "--lm", "lm.arpa")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "give a lexicon" in err


def test_words_are_aligned_by_the_bundles_lexicon_or_another(place, capsys):
    bundle = load_bundle(place / "bundle")
    words = read_lexicon(place / "lexicon.txt", PHONES)
    save_bundle(replace(bundle, language=Language(PHONES, lexicon=words)), place / "bundle")
    status, out, err = run(capsys, "align", "bundle", "1.wav", "--text", "a Bed", "--format", "ctm")
    assert (status, err) == (0, "")
    assert [line.split()[4] for line in out.splitlines()] == ["a", "Bed"]
    status, _, err = run(capsys, "align", "bundle", "1.wav", "--text", "A NEW BED")
    assert status == 2
    assert "the lexicon lacks: 'NEW'" in err
    Path("more.txt").write_text(LEXICON + "NEW D EH\n")
    command = ["align", "bundle", "1.wav", "--text", "A NEW BED", "--lexicon", "more.txt"]
    status, out, err = run(capsys, *command)
    assert (status, err) == (0, "")
    assert 'text = "NEW"' in out
