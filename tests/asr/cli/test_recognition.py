"""Language models, lexicons and phrases on the command line; ``asr tune``."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import asr.cli.segments
import asr.decoding.tuning
from asr import transcribe
from asr.audio import write_wav
from asr.bundle import load_bundle, save_bundle
from asr.cli.main import main
from asr.cli.recognition import RENAMED
from asr.decoding import DecoderOptions
from asr.decoding.config import OPTIONS
from asr.scoring import ErrorCounts
from asr.types import Waveform

TEXT = "ab ba\nab cad\ndab\ncad ab dab\nbed\n"


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def audio(tmp_path, waveform_of) -> str:
    write_wav(tmp_path / "a.wav", waveform_of(1, 1.5))
    return str(tmp_path / "a.wav")


@pytest.fixture
def lm(capsys, tmp_path) -> str:
    (tmp_path / "text").write_text(TEXT)
    for units, name in (("words", "lm.arpa"), ("characters", "tokens.arpa")):
        arguments = ["--units", units, "--output", tmp_path / name, "--discount-fallback"]
        assert run(capsys, "lm", "train", tmp_path / "text", *arguments)[0] == 0
    return str(tmp_path / "lm.arpa")


def best(capsys, *arguments: object) -> dict:
    status, out, err = run(capsys, "transcribe", *arguments, "--format", "json")
    assert (status, err) == (0, "")
    return json.loads(out)["hypotheses"][0]


def test_a_language_model_asks_for_the_beam_and_closes_the_vocabulary(
    capsys, tiny_bundle_path, audio, lm
):
    found = best(capsys, tiny_bundle_path, audio, "--lm", lm, "--lm-weight", 1.0)
    assert set(found["text"].split()) <= {"ab", "ba", "cad", "dab", "bed"}
    assert found["lm_score"] < 0
    parts = found["acoustic_score"] + found["lm_score"] + found["bonus_score"]
    assert parts == pytest.approx(found["score"], abs=2e-3)
    greedy = best(capsys, tiny_bundle_path, audio)
    assert (greedy["lm_score"], greedy["bonus_score"]) == (0, 0)
    assert greedy["acoustic_score"] == greedy["score"]


def test_the_options_reach_the_search(capsys, tiny_bundle_path, audio, lm, tmp_path):
    call = [tiny_bundle_path, audio, "--lm", lm]
    opened = best(capsys, *call, "--unk-score", 0)
    assert not set(opened["text"].split()) <= {"ab", "ba", "cad", "dab", "bed"}
    many = best(capsys, *call, "--word-score", 20)
    assert len(many["text"].split()) > len(best(capsys, *call)["text"].split())
    assert many["bonus_score"] == 20 * len(many["text"].split())
    (tmp_path / "lexicon").write_text("dad\n")
    only = best(capsys, *call, "--lexicon", tmp_path / "lexicon", "--token-score", 2)
    assert set(only["text"].split()) == {"dad"}
    tokens = tmp_path / "tokens.arpa"
    assert best(capsys, tiny_bundle_path, audio, "--lm", tokens, "--lm-units", "tokens")["lm_score"]


def test_phrases_from_the_line_and_from_a_file(capsys, tiny_bundle_path, audio, tmp_path):
    call = [tiny_bundle_path, audio]
    assert "deed" not in best(capsys, *call, "--decoder", "beam")["text"].split()
    found = best(capsys, *call, "--phrase", "deed", "--phrase-weight", 20)
    count = found["text"].split().count("deed")
    assert count
    assert found["bonus_score"] == 4 * 20 * count
    (tmp_path / "phrases").write_text("aa\t0\n\ndeed\t20\nbade\n")
    assert best(capsys, *call, "--phrases", tmp_path / "phrases")["bonus_score"] >= 80


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--lm", "nowhere.arpa"], "nowhere.arpa"),
        (["--lm", "text"], "no ARPA file"),
        (["--lm", "lm.arpa", "--lm-units", "syllables"], "words or tokens"),
        (["--lm", "lm.arpa", "--lm-units", "tokens"], "not tokens of the model"),
        (["--lm", "lm.arpa", "--decoder", "greedy"], "takes no --lm or --lexicon"),
        (["--lm", "lm.arpa", "--lm-weight", "nan"], "lm_weight"),
        (["--lexicon", "bad"], "line 2: the word 'xyz'"),
        (["--phrase", "xyz"], "'xyz' has unknown symbols 'x', 'y', 'z'"),
        (["--phrase", "ab", "--phrase-weight", "nan"], "weight of the phrase 'ab'"),
        (["--phrase", "ab", "--decoder", "greedy"], "no --phrase (choose the decoder beam"),
        (["--phrases", "nowhere"], "nowhere"),
        (["--phrases", "text2"], "line 1: the weight 'ba' is no number"),
        (["--phrase", "bb", "--lm", "lm.arpa"], "'bb' is not in the lexicon"),
        (["--unk-score", "1"], "unk_score"),
        (["--beam-threshold", "-1"], "beam_threshold"),
    ],
)
def test_bad_options_in_one_line(
    capsys, tiny_bundle_path, audio, lm, tmp_path, monkeypatch, options, named
):
    monkeypatch.chdir(tmp_path)
    Path("bad").write_text("ab\nxyz\n")
    Path("text2").write_text("ab\tba\n")
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, audio, *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert named in err


# Tuning


@pytest.fixture
def pairs(tmp_path, waveform_of) -> Path:
    for index in range(3):
        write_wav(tmp_path / f"{index}.wav", waveform_of(index, 0.7 + 0.3 * index))
    path = tmp_path / "pairs.tsv"
    path.write_text("0.wav\tab ba\n1.wav\tab cad\n2.wav\tdab\n")
    return path


GRID = ["--lm-weights", 0, 0.5, 1, "--scores", -1, 0, 2, "--beam-widths", 4, 16]


def test_tuning_writes_what_was_best_and_the_model_into_the_bundle(
    capsys, tiny_bundle_path, tmp_path, lm, pairs, audio
):
    output, picture = tmp_path / "tuned", tmp_path / "surface.png"
    status, out, err = run(
        capsys,
        *("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID, "--prior-weights", 0),
        *("--output", output, "--picture", picture),
    )
    assert (status, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    bundle = load_bundle(output)
    assert bundle.decoder.name == "beam"
    assert f"lm_weight     {bundle.decoder.lm_weight:g}\n" in out
    assert f"beam_width    {bundle.decoder.beam_width}\n" in out
    decoder = bundle.decoder
    options = ["--lm-weight", decoder.lm_weight, "--word-score", decoder.word_score]
    options += ["--beam-width", decoder.beam_width]
    expected = run(capsys, "transcribe", tiny_bundle_path, audio, "--lm", lm, *options)
    assert run(capsys, "transcribe", output, audio) == expected


def test_the_best_is_the_one_with_the_fewest_errors(
    capsys, tiny_bundle_path, tmp_path, lm, pairs, monkeypatch
):
    counts: list[tuple[DecoderOptions, int]] = []
    honest = asr.decoding.tuning.count_errors

    def noted(development, config):
        errors = honest(development, config)
        counts.append((config, errors.total))
        return errors

    monkeypatch.setattr(asr.decoding.tuning, "count_errors", noted)
    output = tmp_path / "tuned"
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID, "--output", output)
    assert run(capsys, *call, "--prior-weights", 0, 0.5)[0] == 0
    assert len(counts) == 2 * 3 * 3 + 2
    chosen = load_bundle(output).decoder
    assert dict(counts)[chosen] == min(count for config, count in counts[-2:])
    assert [config.beam_width for config, _ in counts[-2:]] == [4, 16]


def test_a_width_that_was_not_asked_for_is_not_written(
    capsys, bundle_of, tmp_path, lm, pairs, monkeypatch
):
    """Though it makes fewer errors; where no widths are asked for, the bundle's own is tried."""

    def fewer(_, config):
        return ErrorCounts(substitutions=300 - config.beam_width, reference_length=400)

    monkeypatch.setattr(asr.decoding.tuning, "count_errors", fewer)
    save_bundle(bundle_of(name="beam", beam_width=200), tmp_path / "wide")
    call = ("tune", tmp_path / "wide", "--pairs", pairs, "--lm", lm, *GRID[:7], "--output")
    for widths, chosen in (((8, 32), 32), ((), 200)):
        options = ("--beam-widths", *widths) if widths else ()
        assert run(capsys, *call, tmp_path / f"to{chosen}", *options)[0] == 0
        assert load_bundle(tmp_path / f"to{chosen}").decoder.beam_width == chosen


def test_a_recording_that_cannot_be_used_is_named_and_left_out(
    capsys, tiny_bundle_path, tmp_path, lm, pairs
):
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID, "--output")
    assert run(capsys, *call, tmp_path / "without")[0] == 0
    (tmp_path / "short.wav").write_bytes(b"RIFF")
    write_wav(tmp_path / "long.wav", Waveform(np.zeros(10, dtype=np.float32), 16_000))
    with open(pairs, "a") as file:
        file.write("short.wav\tab\nlong.wav\tba\n")
    status, _, err = run(capsys, *call, tmp_path / "with")
    assert status == 2
    assert all(f"{name}.wav: " in err for name in ("short", "long"))
    assert len(err.splitlines()) == 2
    assert load_bundle(tmp_path / "with").decoder == load_bundle(tmp_path / "without").decoder
    pairs.write_text("short.wav\tab\n")
    status, _, err = run(capsys, *call, tmp_path / "none")
    assert (status, "none of 1 recordings can be used" in err) == (2, True)
    assert not (tmp_path / "none").exists()


def test_texts_in_another_case_find_no_weights(capsys, tiny_bundle_path, tmp_path, lm, pairs):
    files = [tmp_path / f"{index}.wav" for index in range(3)]
    said = [best(capsys, tiny_bundle_path, file, "--lm", lm)["text"] for file in files]
    pairs.write_text("".join(f"{f.name}\t{t.upper()}\n" for f, t in zip(files, said, strict=True)))
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID)
    status, _, err = run(capsys, *call, "--output", tmp_path / "tuned")
    assert status == 2
    assert "the model writes lower case and the texts are upper case" in err
    assert not (tmp_path / "tuned").exists()


def test_folders_are_made_for_a_bundle(capsys, tiny_bundle_path, tmp_path, lm, pairs):
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID)
    assert run(capsys, *call, "--output", tmp_path / "new" / "deep" / "tuned")[0] == 0
    assert load_bundle(tmp_path / "new" / "deep" / "tuned").language is not None


@pytest.mark.parametrize(
    ("file", "audio"),
    [("/dev/shm/corpus/p.tsv", "/dev/shm/corpus/a.wav"), ("/dev/fd/9", "a.wav")],
)
def test_recordings_lie_beside_their_list_wherever_it_is(monkeypatch, file, audio):
    monkeypatch.setattr(asr.cli.segments, "read_lines", lambda *_: [("line 1", "a.wav\tab")])
    assert [segment.audio for segment in asr.cli.segments.read_pairs(file)] == [audio]


def test_pairs_come_through_a_pipe_and_are_found_from_here(
    capsys, tiny_bundle_path, tmp_path, lm, pairs, monkeypatch
):
    call = ("tune", tiny_bundle_path, "--lm", lm, *GRID, "--dry-run", "--pairs")
    expected = run(capsys, *call, pairs)
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, pairs.read_bytes())
    os.close(writer)
    assert run(capsys, *call, f"/dev/fd/{reader}") == expected
    os.close(reader)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--lm-units", "tokens"), "--lm-units without a language model"),
        (("--phrase-weight", 3), "--phrase-weight without phrases"),
        (("--phrase-weight", 3, "--decoder", "greedy"), "--phrase-weight without phrases"),
        (("--segment-seconds", 2.9), "--segment-seconds is 2.9 (give 3 to 3600)"),
    ],
)
def test_an_option_that_does_nothing_or_cannot_be_is_refused(
    capsys, tiny_bundle_path, audio, options, named
):
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, audio, *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert named in err


def test_an_interruption_writes_nothing_and_says_how_far_it_came(
    capsys, tiny_bundle_path, tmp_path, lm, pairs, monkeypatch
):
    honest, calls = asr.decoding.tuning.count_errors, []

    def interrupted(development, config):
        calls.append(config)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(development, config)

    monkeypatch.setattr(asr.decoding.tuning, "count_errors", interrupted)
    output = tmp_path / "tuned"
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID, "--output", output)
    status, out, _ = run(capsys, *call)
    assert status == 130
    assert "The best so far" in out
    assert not output.exists()


@pytest.mark.parametrize(
    "impossible",
    [
        ("--lm-weights", 1, 101),
        ("--scores", 0, -101),
        ("--prior-weights", 0, 2.5),
        ("--beam-widths", 4, 1025),
    ],
)
def test_an_impossible_value_is_refused_before_any_audio_is_read(
    capsys, tiny_bundle_path, lm, pairs, monkeypatch, impossible
):
    def no_audio(*_: object, **__: object) -> None:
        raise AssertionError("audio was read")

    monkeypatch.setattr("asr.audio.read_audio", no_audio)
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *impossible)
    status, out, err = run(capsys, *call)
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_a_beam_narrower_than_the_bundles_nbest_is_written(
    capsys, bundle_of, tmp_path, lm, pairs, monkeypatch
):
    monkeypatch.setattr(asr.decoding.tuning, "count_errors", lambda *_: ErrorCounts())
    save_bundle(bundle_of(name="beam", nbest=8), tmp_path / "many")
    assert run(capsys, "tune", tmp_path / "many", "--pairs", pairs, "--lm", lm, *GRID)[0] == 0
    decoder = load_bundle(tmp_path / "many").decoder
    assert (decoder.beam_width, decoder.nbest) == (4, 4)


def test_a_dry_run_writes_nothing(capsys, tiny_bundle_path, tmp_path, lm, pairs):
    before = (tiny_bundle_path / "config.json").read_bytes()
    call = ("tune", tiny_bundle_path, "--pairs", pairs, "--lm", lm, *GRID)
    assert run(capsys, *call, "--dry-run")[0] == 0
    assert (tiny_bundle_path / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "asr lm train"),
        (["--lm", "lm.arpa", "--lm-weights", "-1"], "lm_weight"),
        (["--lm", "lm.arpa", "--scores", "nan"], "scores"),
        (["--lm", "lm.arpa", "--beam-widths", "0"], "beam_width"),
        (["--lm", "lm.arpa", "--picture", "x.jpg"], "PNG"),
        (["--lm", "lm.arpa", "--picture", "/proc/x.png"], "/proc/x.png: nothing can be written"),
        (["--lm", "lm.arpa", "--output", "/proc/x"], "/proc/x: nothing can be written"),
        (["--lm", "lm.arpa", "--lm-units", "phones"], "unknown units 'phones'"),
    ],
)
def test_tuning_that_cannot_work(
    capsys, tiny_bundle_path, lm, pairs, tmp_path, monkeypatch, options, named
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "tune", tiny_bundle_path, "--pairs", pairs, *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert named in err


def test_former_names_of_options_still_work(capsys, tiny_bundle_path, audio):
    new = ["--nbest", 3, "--word-score", 1.5, "--token-score", -0.5, "--unk-score", -2]
    old = ["--alternatives", 3, "--word-bonus", 1.5, "--token-bonus", -0.5, "--unknown-penalty", 2]
    command = ["transcribe", tiny_bundle_path, audio, "--format", "json"]
    assert run(capsys, *command, *old) == run(capsys, *command, *new)
    status, _, err = run(capsys, *command, "--unknown-penalty", -1)
    assert (status, "unk_score is 1.0" in err) == (2, True)


def test_no_words_outside_the_lexicon_is_minus_infinity(capsys, tiny_bundle_path, audio, lm):
    call = [tiny_bundle_path, audio, "--lm", lm]
    closed = best(capsys, *call)
    assert best(capsys, *call, "--unk-score=-inf") == closed
    assert best(capsys, *call, "--unk-score", -1) != closed


def test_help_has_every_option_of_every_decoder_and_no_former_name(capsys):
    with pytest.raises(SystemExit):
        main(["transcribe", "--help"])
    shown = capsys.readouterr().out
    for options in OPTIONS.values():
        assert all(f"--{field.name.replace('_', '-')} " in shown for field in fields(options))
    assert not any(former in shown for former in RENAMED)


def test_a_phrase_that_cannot_be_spelled_is_said_once_and_before_any_file(
    capsys, tiny_bundle_path, audio, monkeypatch
):
    def no_audio(*_: object, **__: object) -> None:
        raise AssertionError("audio was read")

    for way in ("read", "blocks"):
        monkeypatch.setattr(transcribe.Recording, way, no_audio)
    files = [audio] * 3
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, *files, "--phrase", "100 %")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "100 %" in err
