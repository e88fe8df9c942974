"""``asr`` itself and its small commands: plot, export, info."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from asr import __version__
from asr.audio import write_wav
from asr.bundle import save_bundle
from asr.bundle.streaming import Streaming
from asr.cli.main import main
from asr.features import FeatureExtractor
from asr.types import Waveform


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


@pytest.mark.parametrize("arguments", [["transcribe"], ["align"]])
def test_without_audio_there_is_nothing_to_do(run, arguments):
    status, _, err = run(*arguments)
    assert status == 2
    assert "no audio" in err
    assert err.count("\n") == 1


def test_help_does_not_wait_for_torch():
    code = (
        "import sys, asr.cli.main; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# asr plot


def test_plot(run, tiny_bundle_path, files, tmp_path):
    status, out, err = run("plot", tiny_bundle_path, files[0], "--output", tmp_path / "u.png")
    assert (status, out, err) == (0, "", "")
    assert (tmp_path / "u.png").stat().st_size > 20_000


@pytest.mark.parametrize("output", ["u.txt", "no/such/folder/u.png"])
def test_plot_that_cannot_be_written(run, tiny_bundle_path, files, tmp_path, output):
    status, _, err = run("plot", tiny_bundle_path, files[0], "--output", tmp_path / output)
    assert (status, len(err.splitlines())) == (2, 1)


def test_plot_of_too_little_audio_names_the_file(run, tiny_bundle_path, tmp_path):
    write_wav(tmp_path / "short.wav", Waveform(np.zeros(3, dtype=np.float32), 16_000))
    picture = tmp_path / "u.png"
    status, _, err = run("plot", tiny_bundle_path, tmp_path / "short.wav", "--output", picture)
    assert status == 2
    assert "short.wav: audio of 3 samples is too short" in err


def test_plot_of_no_audio(run, tiny_bundle_path, bad, tmp_path):
    status, _, err = run("plot", tiny_bundle_path, bad["text"], "--output", tmp_path / "u.png")
    assert (status, len(err.splitlines())) == (2, 1)
    assert not (tmp_path / "u.png").exists()


# asr export


@pytest.mark.parametrize(("options", "close"), [([], 1e-4), (["--int8"], 0.5)])
def test_the_exported_file_gives_the_recognisers_log_probs(
    run, tiny_bundle_path, tiny_recognizer, waveform_of, tmp_path, options, close
):
    path = tmp_path / "model.onnx"
    status, out, err = run("export", tiny_bundle_path, "--output", path, *options)
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
def test_an_export_that_cannot_be_written(run, tiny_bundle_path, tmp_path, output):
    status, _, err = run("export", tiny_bundle_path, "--output", tmp_path / output)
    assert (status, len(err.splitlines())) == (2, 1)
    assert str(tmp_path / output) in err


def test_streams_have_a_graph_of_their_own(run, tiny_bundle_path, tmp_path):
    path = tmp_path / "stream.onnx"
    run("export", tiny_bundle_path, "--output", path, "--streaming")
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {"h0", "c0"} < {each.name for each in session.get_inputs()}


# asr info


def test_info_says_what_a_bundle_is_and_how_it_reads_streams(run, bundle_of, tmp_path):
    save_bundle(replace(bundle_of(), streaming=Streaming((240, 960), (120, 840))), tmp_path / "b")
    status, out, err = run("info", tmp_path / "b")
    assert (status, err) == (0, "")
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert told["name"] == "tiny"
    assert told["tokens"] == "7 characters"
    assert told["streaming"] == "trained with chunks of 240 to 960 ms, look-ahead 120 to 840 ms"
    assert told["latencies"] == "low 240 + 120 ms, medium 600 + 480 ms, high 960 + 840 ms"
    status, out, err = run("info", tmp_path / "b", "--json")
    values = json.loads(out)
    assert values["bytes"] == sum(file.stat().st_size for file in (tmp_path / "b").iterdir())
    assert values["metadata"] == {"corpus": "none", "rates": [0.5, 1.0]}


def test_info_of_a_model_that_was_not_trained_for_streams(run, tiny_bundle_path):
    _, out, _ = run("info", tiny_bundle_path)
    assert "not trained for streams" in out
    assert "medium 1280 + 640 ms" in out


# packages that are not there


def test_a_bundle_whose_front_end_is_not_installed(run, monkeypatch, bundle_of, tmp_path, files):
    bundle = bundle_of()
    config = replace(bundle.extractor.config, backend="librosa")
    save_bundle(replace(bundle, extractor=FeatureExtractor(config).eval()), tmp_path / "b")
    assert run("transcribe", tmp_path / "b", files[0])[0] == 0
    monkeypatch.setitem(sys.modules, "librosa", None)
    status, out, err = run("transcribe", tmp_path / "b", files[0])
    assert (status, out) == (2, "")
    assert str(tmp_path / "b" / "config.json") in err
    assert "(install the extra librosa: pip install 'peephole-asr[librosa]')\n" in err
    assert "export" not in err  # the bundle is whole
    assert err.count("\n") == 1
