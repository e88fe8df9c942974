"""The ``asr`` command: right text, right order, one line for each thing that goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from asr import __version__
from asr.audio import read_audio, resample, write_wav
from asr.backends import make_backend
from asr.bundle import save_bundle
from asr.bundle.streaming import Streaming
from asr.cli.main import main
from asr.decoding import BeamOptions
from asr.features import FeatureExtractor
from asr.recognizer import Recognizer
from asr.transcribe import even_batches, in_order, plan_batches, transcribe_files
from asr.types import AsrError, ConfigError, DeviceMemoryError, Waveform

SECONDS = (1.1, 0.3, 0.9, 0.3, 0.6)


@pytest.fixture(scope="module")
def files(tmp_path_factory, waveform_of) -> list[str]:
    folder = tmp_path_factory.mktemp("audio")
    paths = [folder / f"u{index}.wav" for index in range(len(SECONDS))]
    for index, (path, seconds) in enumerate(zip(paths, SECONDS, strict=True)):
        write_wav(path, waveform_of(index + 10, seconds))
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def texts(tiny_recognizer, files) -> list[str]:
    return [tiny_recognizer.recognize([read_audio(file)])[0].text for file in files]


@pytest.fixture
def bad(tmp_path) -> dict[str, str]:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no audio at all, " * 20)
    (tmp_path / "short.wav").write_bytes(b"")
    return {name: str(tmp_path / f"{name}.wav") for name in ("empty", "text", "missing")}


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


# asr transcribe


def test_text_of_one_file_is_that_of_the_recogniser(capsys, tiny_bundle_path, files, texts):
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, files[0])
    assert (status, out, err) == (0, texts[0] + "\n", "")


@pytest.mark.parametrize("batch_seconds", ["0.1", "2", "1000"])
def test_text_of_many_files_in_the_order_given(
    capsys, tiny_bundle_path, files, texts, batch_seconds
):
    expected = "".join(f"{file}\t{text}\n" for file, text in zip(files, texts, strict=True))
    status, out, err = run(
        capsys, "transcribe", tiny_bundle_path, *files, "--batch-seconds", batch_seconds
    )
    assert (status, out, err) == (0, expected, "")


@pytest.mark.parametrize("broken", [False, True], ids=["a batch", "a batch that fails"])
def test_a_file_of_another_rate_is_resampled_once(
    tiny_recognizer, waveform_of, tmp_path, monkeypatch, broken
):
    files = [str(tmp_path / f"{index}.wav") for index in range(3)]
    for index, file in enumerate(files):
        write_wav(file, waveform_of(index, 0.5, 8000))
    resampled = []

    def count(waveform, rate):
        resampled.append(rate)
        return resample(waveform, rate)

    honest = tiny_recognizer.log_probs

    def fail(waveforms):
        if len(waveforms) > 1:
            raise DeviceMemoryError("too much at once")
        return honest(waveforms)

    monkeypatch.setattr("asr.recognizer.resample", count)
    if broken:
        monkeypatch.setattr(tiny_recognizer, "log_probs", fail)
    outcomes = list(transcribe_files(tiny_recognizer, files))
    assert not any(isinstance(outcome, AsrError) for _, outcome in outcomes)
    assert resampled == [16_000] * 3


def test_one_bad_file_does_not_lose_the_others(capsys, tiny_bundle_path, files, texts, bad):
    mixed = [files[0], bad["empty"], files[1], bad["text"], bad["missing"], files[2]]
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, *mixed)
    assert status == 2
    assert [line.split("\t") for line in out.splitlines()] == [
        [files[0], texts[0]],
        [files[1], texts[1]],
        [files[2], texts[2]],
    ]
    lines = err.splitlines()
    assert len(lines) == 4
    for line, file in zip(lines, bad.values(), strict=False):
        assert line.startswith(f"asr: error: {file}: ")
    assert "3 of 6 files" in lines[3]


def test_a_file_too_short_is_told_by_its_name(
    capsys, tiny_bundle_path, files, texts, tmp_path, waveform_of
):
    write_wav(tmp_path / "short.wav", waveform_of(1, 0.005))
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, tmp_path / "short.wav", files[1])
    assert (status, out) == (2, f"{files[1]}\t{texts[1]}\n")
    assert f"{tmp_path / 'short.wav'}: " in err
    assert "too short" in err


def test_json_has_every_file_once(capsys, tiny_bundle_path, files, texts, bad):
    status, out, _ = run(
        capsys, "transcribe", tiny_bundle_path, files[0], bad["empty"], files[1], "--format", "json"
    )
    assert status == 2
    first, failed, second = map(json.loads, out.splitlines())
    assert (first["file"], first["text"]) == (files[0], texts[0])
    assert first["duration"] == pytest.approx(SECONDS[0])
    assert failed.keys() == {"file", "error"}
    assert (second["file"], second["text"]) == (files[1], texts[1])


def test_ctm_of_many_files(capsys, tiny_bundle_path, files, texts, bad):
    status, out, _ = run(
        capsys, "transcribe", tiny_bundle_path, bad["empty"], *files, "--format", "ctm"
    )
    assert status == 2
    comment, *lines = out.splitlines()
    assert comment.startswith(";; ")
    heard: dict[str, list[str]] = {}
    for line in lines:
        file, channel, start, duration, word, confidence = line.split()
        assert channel == "1"
        assert float(start) >= 0
        assert float(duration) >= 0
        assert 0 <= float(confidence) <= 1
        heard.setdefault(file, []).append(word)
    assert {file: " ".join(words) for file, words in heard.items()} == {
        f"u{index}": " ".join(text.split()) for index, text in enumerate(texts) if text.split()
    }


def test_srt_of_one_file(capsys, tiny_bundle_path, files):
    status, out, _ = run(capsys, "transcribe", tiny_bundle_path, files[0], "--format", "srt")
    assert status == 0
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", out)


def test_srt_of_many_files_goes_into_a_folder(capsys, tiny_bundle_path, files, bad, tmp_path):
    folder = tmp_path / "subtitles"
    status, out, _ = run(
        capsys,
        *("transcribe", tiny_bundle_path, *files, bad["text"]),
        *("--format", "srt", "--output", folder),
    )
    assert (status, out) == (2, "")
    assert sorted(entry.name for entry in folder.iterdir()) == [f"u{i}.srt" for i in range(5)]


@pytest.mark.parametrize("twice", [False, True])
def test_srt_that_would_be_lost(capsys, tiny_bundle_path, files, tmp_path, twice):
    names = [files[0], str(Path(files[0]).with_suffix(".flac"))] if twice else files
    output = ["--output", tmp_path / "s"] if twice else []
    status, out, err = run(
        capsys, "transcribe", tiny_bundle_path, *names, "--format", "srt", *output
    )
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_output_to_a_file(capsys, tiny_bundle_path, files, texts, tmp_path):
    output = tmp_path / "out.txt"
    status, out, _ = run(capsys, "transcribe", tiny_bundle_path, files[0], "--output", output)
    assert (status, out) == (0, "")
    assert output.read_text("utf-8") == texts[0] + "\n"


def test_beam_alternatives(capsys, tiny_bundle_path, tiny_recognizer, files):
    config = BeamOptions(beam_width=8, nbest=3)
    (transcript,) = tiny_recognizer.recognize(
        [read_audio(files[0])], tiny_recognizer.decoder(config)
    )
    status, out, _ = run(
        capsys,
        *("transcribe", tiny_bundle_path, files[0]),
        *("--decoder", "beam", "--beam-width", "8", "--nbest", "3"),
    )
    assert status == 0
    assert out.splitlines() == [
        f"{rank}\t{hypothesis.text}" for rank, hypothesis in enumerate(transcript.hypotheses, 1)
    ]


@pytest.mark.parametrize("backend", ["torch", "onnx", "onnx-int8"])
def test_the_backend_is_the_one_named(
    capsys, monkeypatch, tiny_bundle_path, bundle_of, files, backend
):
    chosen = []

    def make(name, model):
        chosen.append(name)
        return make_backend(name, model)

    monkeypatch.setattr("asr.recognizer.make_backend", make)
    expected = Recognizer(bundle_of(), backend=backend).recognize([read_audio(files[0])])[0].text
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, files[0], "--backend", backend)
    assert (status, out, err) == (0, expected + "\n", "")
    assert chosen == [backend, backend]


def test_prefix_search_tells_in_json_what_it_proved(capsys, tiny_bundle_path, files):
    call = ["transcribe", tiny_bundle_path, files[1], "--format", "json"]
    status, out, _ = run(capsys, *call, "--decoder", "prefix", "--nbest", "2")
    assert status == 0
    searches = [hypothesis["search"] for hypothesis in json.loads(out)["hypotheses"]]
    assert len(searches) == 2
    assert set(searches) <= {"exact", "sectioned", "cut"}
    for options, expected in (
        (["--blank-threshold", "1.0", "--max-expansions", "50000"], "exact"),
        (["--blank-threshold", "1.0", "--max-expansions", "1"], "cut"),
    ):
        _, out, _ = run(capsys, *call, *options)  # which ask for prefix search by themselves
        assert json.loads(out)["hypotheses"][0]["search"] == expected
    _, out, _ = run(capsys, *call)
    assert "search" not in json.loads(out)["hypotheses"][0]


def test_beam_options_ask_for_the_beam(capsys, tiny_bundle_path, files):
    said = run(capsys, "transcribe", tiny_bundle_path, files[0], "--decoder", "beam")
    assert run(capsys, "transcribe", tiny_bundle_path, files[0], "--beam-width", "16") == said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--decoder", "oracle"], "greedy"),
        (["--beam-width", "0"], "beam"),
        (["--beam-width", "2", "--nbest", "3"], "nbest"),
        (["--device", "abacus"], "choose cpu"),
        (["--device", "cuda:77"], "choose cpu"),
        (["--backend", "abacus"], "onnx-int8"),
        (["--batch-seconds", "0"], "above 0"),
        (["--batch-seconds", "nan"], "above 0"),
        (["--output", "/nowhere/at/all.txt"], "/nowhere/at/all.txt"),
        (["--output", "/"], "folder"),
    ],
)
def test_bad_options_in_one_line(capsys, tiny_bundle_path, files, options, named):
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, files[0], *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert named in err


def test_words_of_the_language_model_that_are_lost_in_one_line(
    capsys, tiny_bundle_path, files, tmp_path
):
    lm = tmp_path / "lm.arpa"
    lm.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n-1\tab\n-1\tBad\n\n\\end\\\n"
    )
    status, out, err = run(capsys, "transcribe", tiny_bundle_path, files[0], "--lm", lm)
    assert status == 0
    assert set(out.split()) <= {"ab"}
    assert err == (
        "asr: warning: 1 of 2 of the language model's words cannot be spelled with the model's "
        "tokens and are never recognised (1 for upper or lower case): 'Bad'\n"
    )


@pytest.mark.parametrize("command", ["transcribe", "plot"])
def test_a_missing_bundle_in_one_line(capsys, tmp_path, files, command):
    output = ["--output", tmp_path / "x.png"] if command == "plot" else []
    status, out, err = run(capsys, command, tmp_path / "none", files[0], *output)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert str(tmp_path / "none") in err


# asr plot


def test_plot(capsys, tiny_bundle_path, files, tmp_path):
    status, out, err = run(
        capsys, "plot", tiny_bundle_path, files[0], "--output", tmp_path / "u.png"
    )
    assert (status, out, err) == (0, "", "")
    assert (tmp_path / "u.png").stat().st_size > 20_000


@pytest.mark.parametrize("output", ["u.txt", "no/such/folder/u.png"])
def test_plot_that_cannot_be_written(capsys, tiny_bundle_path, files, tmp_path, output):
    status, _, err = run(capsys, "plot", tiny_bundle_path, files[0], "--output", tmp_path / output)
    assert (status, len(err.splitlines())) == (2, 1)


def test_plot_of_no_audio(capsys, tiny_bundle_path, bad, tmp_path):
    status, _, err = run(
        capsys, "plot", tiny_bundle_path, bad["text"], "--output", tmp_path / "u.png"
    )
    assert (status, len(err.splitlines())) == (2, 1)
    assert not (tmp_path / "u.png").exists()


# asr export


@pytest.mark.parametrize(("options", "close"), [([], 1e-4), (["--int8"], 1.0)])
def test_the_exported_file_gives_the_recognisers_log_probs(
    capsys, tiny_bundle_path, tiny_recognizer, waveform_of, tmp_path, options, close
):
    path = tmp_path / "model.onnx"
    status, out, err = run(capsys, "export", tiny_bundle_path, "--output", path, *options)
    assert (status, out, err) == (0, "", "")
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    waveform = waveform_of(3, 1.0)
    bundle = tiny_recognizer.bundle
    features, lengths = bundle.extractor(
        torch.from_numpy(waveform.samples)[None], torch.tensor([16000])
    )
    (log_probs,) = session.run(None, {"features": features.numpy(), "lengths": lengths.numpy()})
    expected, _ = tiny_recognizer.log_probs([waveform])
    assert np.abs(log_probs - expected.numpy()).max() < close
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["token_kind"] == "characters"
    assert json.loads(metadata["tokens"]) == list(bundle.tokenizer.tokens)
    assert json.loads(metadata["features"]) == bundle.extractor.config.to_dict()
    assert json.loads(metadata["statistics"])["mean"] == bundle.extractor.mean.tolist()


@pytest.mark.parametrize("output", ["", "no/such/folder/model.onnx"])
def test_an_export_that_cannot_be_written(capsys, tiny_bundle_path, tmp_path, output):
    status, _, err = run(capsys, "export", tiny_bundle_path, "--output", tmp_path / output)
    assert (status, len(err.splitlines())) == (2, 1)
    assert str(tmp_path / output) in err


def test_streams_have_a_graph_of_their_own(capsys, tiny_bundle_path, tmp_path):
    path = tmp_path / "stream.onnx"
    run(capsys, "export", tiny_bundle_path, "--output", path, "--streaming")
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {"h0", "c0"} < {each.name for each in session.get_inputs()}


# asr info


def test_info_says_what_a_bundle_is_and_how_it_reads_streams(capsys, bundle_of, tmp_path):
    save_bundle(replace(bundle_of(), streaming=Streaming((240, 960), (120, 840))), tmp_path / "b")
    status, out, err = run(capsys, "info", tmp_path / "b")
    assert (status, err) == (0, "")
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert told["name"] == "tiny"
    assert told["tokens"] == "7 characters"
    assert told["streaming"] == "trained with chunks of 240 to 960 ms, look-ahead 120 to 840 ms"
    assert told["latencies"] == "low 240 + 120 ms, medium 600 + 480 ms, high 960 + 840 ms"
    status, out, err = run(capsys, "info", tmp_path / "b", "--json")
    values = json.loads(out)
    assert values["bytes"] == sum(file.stat().st_size for file in (tmp_path / "b").iterdir())
    assert values["metadata"] == {"corpus": "none", "rates": [0.5, 1.0]}


def test_info_of_a_model_that_was_not_trained_for_streams(capsys, tiny_bundle_path):
    _, out, _ = run(capsys, "info", tiny_bundle_path)
    assert "not trained for streams" in out
    assert "medium 1280 + 640 ms" in out


# packages that are not there


def test_a_bundle_whose_front_end_is_not_installed(capsys, monkeypatch, bundle_of, tmp_path, files):
    bundle = bundle_of()
    config = replace(bundle.extractor.config, backend="librosa")
    save_bundle(replace(bundle, extractor=FeatureExtractor(config).eval()), tmp_path / "b")
    assert run(capsys, "transcribe", tmp_path / "b", files[0])[0] == 0
    monkeypatch.setitem(sys.modules, "librosa", None)
    status, out, err = run(capsys, "transcribe", tmp_path / "b", files[0])
    assert (status, out) == (2, "")
    assert str(tmp_path / "b" / "config.json") in err
    assert "(install the extra librosa: pip install 'peephole-asr[librosa]')\n" in err
    assert "export" not in err  # the bundle is whole
    assert err.count("\n") == 1


# asr itself


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"peephole-asr {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["sing"], ["transcribe", "--nonsense"]])
def test_usage_errors_exit_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [["transcribe"], ["align"], ["transcribe", "b"]])
def test_without_audio_there_is_nothing_to_do(capsys, arguments):
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "no audio" in err
    assert err.count("\n") == 1


def test_progress_on_a_terminal_leaves_the_output_alone(tiny_bundle_path, files, texts):
    """Standard error is a terminal, standard output a pipe."""
    leader, follower = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "asr.cli.main", "transcribe", str(tiny_bundle_path), *files],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
        text=True,
        timeout=120,
        check=False,
    )
    os.close(follower)
    shown = os.read(leader, 65536).decode("utf-8", errors="replace")
    os.close(leader)
    assert done.returncode == 0
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == texts
    assert "transcribing" in shown
    assert "5/5" in shown


def test_help_does_not_wait_for_torch():
    code = (
        "import sys, asr.cli.main; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# Batches


@given(st.lists(st.floats(0.01, 100), max_size=40), st.floats(0.1, 200))
def test_batches_hold_every_file_once_within_the_cap(durations, cap):
    batches = plan_batches(durations, cap)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        padded = max(durations[index] for index in batch) * len(batch)
        assert len(batch) == 1 or padded <= cap


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan")])
def test_a_cap_that_cannot_be(cap):
    with pytest.raises(ConfigError):
        plan_batches([1.0], cap)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=40),
    st.floats(0.1, 1000) | st.just(np.inf),
    st.integers(1, 9),
)
def test_no_lane_is_left_without_a_batch_where_there_is_enough(durations, cap, lanes):
    batches = even_batches(durations, cap, lanes)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert len(batch) == 1 or max(durations[index] for index in batch) * len(batch) <= cap
    rounds = -(-len(plan_batches(durations, cap)) // lanes)
    assert len(batches) <= rounds * lanes
    if len(durations) % lanes == 0:
        alike = even_batches([1.0] * len(durations), cap, lanes)
        assert len(alike) % lanes == 0
        assert len({len(batch) for batch in alike}) <= 2


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_lanes_change_no_result(tiny_recognizer, files, bad, lanes):
    """Words, times and scores as well, with files that fail among them."""
    mixed = [files[0], bad["text"], *files[1:], bad["missing"], files[2]]
    decoder = tiny_recognizer.decoder(BeamOptions(beam_width=8, nbest=3))
    expected = dict(transcribe_files(tiny_recognizer, mixed, decoder, batch_seconds=2.0, lanes=1))
    done: list[int] = []
    found = dict(
        transcribe_files(
            tiny_recognizer, mixed, decoder, batch_seconds=2.0, lanes=lanes, on_done=done.append
        )
    )
    assert sum(done) == len(mixed)
    assert list(map(str, map(found.get, (1, 6)))) == list(map(str, map(expected.get, (1, 6))))
    for index in (0, 2, 3, 4, 5, 7):
        for one, other in zip(found[index].hypotheses, expected[index].hypotheses, strict=True):
            assert one.text == other.text
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert [(word.text, word.start, word.end) for word in one.words] == [
                (word.text, word.start, word.end) for word in other.words
            ]


@given(st.permutations(range(8)))
def test_results_come_in_order_and_as_early_as_that_allows(arrival):
    seen: list[int] = []

    def arriving():
        for index in arrival:
            seen.append(index)
            yield index, AsrError(str(index))

    given_out = []
    for index, outcome in in_order(arriving()):
        assert outcome.what == str(index)
        assert set(range(index + 1)) <= set(seen)
        given_out.append(index)
    assert given_out == list(range(8))


def test_a_batch_that_fails_is_tried_file_by_file(tiny_recognizer, files, texts, monkeypatch):
    """As when the memory of a graphics card does not hold the batch."""
    honest = tiny_recognizer.recognize

    def cramped(waveforms, decoder=None, **options):
        if len(waveforms) > 1 or waveforms[0].duration > 1.0:
            raise AsrError("no memory", remedy="smaller batches")
        return honest(waveforms, decoder, **options)

    monkeypatch.setattr(tiny_recognizer, "recognize", cramped)
    done: list[int] = []
    outcomes = dict(transcribe_files(tiny_recognizer, files, on_done=done.append))
    assert str(outcomes[0]) == f"{files[0]}: no memory (smaller batches)"
    assert [outcomes[i].text for i in range(1, 5)] == texts[1:]
    assert sum(done) == len(files)


def test_audio_without_words_has_no_text(tiny_bundle_path, files, texts, capsys, tmp_path):
    silence = tmp_path / "silence.wav"
    write_wav(silence, Waveform(np.zeros(48_000, np.float32), 16_000))
    for level, expected in [(None, texts[0]), ("-1", ""), ("-60", texts[0])]:
        gate = [] if level is None else ["--silence-gate", level]
        status, out, _ = run(capsys, "transcribe", tiny_bundle_path, silence, files[0], *gate)
        assert status == 0
        assert [line.split("\t")[1] for line in out.splitlines()] == ["", expected]
    status, out, _ = run(capsys, "transcribe", tiny_bundle_path, files[0], "--min-confidence", "1")
    assert (status, out.strip()) == (0, "")
    for wrong in (("--silence-gate", "3"), ("--min-confidence", "2")):
        status, _, err = run(capsys, "transcribe", tiny_bundle_path, files[0], *wrong)
        assert status == 2
        assert len(err.splitlines()) == 1
