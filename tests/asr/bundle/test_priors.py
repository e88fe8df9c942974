"""The priors of a bundle: kept, checked, used and found."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from asr.audio import read_audio, write_wav
from asr.bundle import load_bundle, save_bundle
from asr.cli.main import main
from asr.decoding import BeamOptions, Priors
from asr.recognizer import Recognizer
from asr.types import BundleError, DecodingError


def priors_for(bundle, first=0.6):
    """``first`` for the blank, and the rest for all others alike."""
    others = bundle.tokenizer.size - 1
    return Priors((math.log(first), *[math.log((1 - first) / others)] * others))


def test_they_are_kept_to_five_digits(bundle_of, tmp_path):
    bundle = bundle_of()
    save_bundle(replace(bundle, priors=priors_for(bundle)), tmp_path / "b")
    found = load_bundle(tmp_path / "b").priors
    np.testing.assert_allclose(found.log_priors, priors_for(bundle).log_priors, atol=1e-5)
    save_bundle(bundle, tmp_path / "without")
    assert load_bundle(tmp_path / "without").priors is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda logs: logs[:-1], "sum to|priors"),
        (lambda logs: [*logs[:-1], "x"], "natural logarithms"),
        (lambda logs: [math.log(1 / 3)] * 3, "3 priors"),
        (lambda logs: 5, "do not fit"),
    ],
)
def test_damage_is_named(bundle_of, tmp_path, change, told):
    bundle = bundle_of()
    save_bundle(replace(bundle, priors=priors_for(bundle)), tmp_path / "b")
    path = tmp_path / "b" / "config.json"
    config = json.loads(path.read_text())
    config["priors"]["log_priors"] = change(config["priors"]["log_priors"])
    path.write_text(json.dumps(config))
    with pytest.raises(BundleError, match=told):
        load_bundle(tmp_path / "b")


def test_recognition_divides_them_out_where_the_decoder_says_so(bundle_of, waveform_of):
    bundle = bundle_of()
    bundle = replace(bundle, priors=priors_for(bundle, 0.99), decoder=BeamOptions(prior_weight=1))
    recognizer = Recognizer(bundle)
    waveform = waveform_of(3, 1.5)
    [mine] = recognizer.recognize([waveform])
    [plain] = recognizer.recognize([waveform], recognizer.decoder(BeamOptions()))
    assert len(mine.text) > len(plain.text)  # blanks are so frequent: fewer of them are left
    without = Recognizer(replace(bundle, priors=None))
    with pytest.raises(DecodingError, match="knows no priors"):
        without.decoder()


@pytest.mark.filterwarnings("ignore:.*")
def test_tune_takes_them_from_the_recordings_and_writes_the_weight(
    bundle_of, waveform_of, tmp_path, capsys
):
    bundle = bundle_of()
    save_bundle(bundle, tmp_path / "b")
    lines = []
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", waveform_of(number, 1.0))
        lines.append(f"{number}.wav\te e\n")
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    (tmp_path / "text").write_text("e e\ne\n")
    lm = tmp_path / "lm.arpa"
    made = ["lm", "train", str(tmp_path / "text"), "--output", str(lm), "--discount-fallback"]
    assert main(made) == 0
    command = ["tune", str(tmp_path / "b"), "--pairs", str(tmp_path / "pairs.tsv")]
    command += ["--lm", str(lm), "--lm-weights", "0.5", "--scores", "0", "--beam-widths", "8"]
    capsys.readouterr()
    assert main([*command, "--prior-weights", "0.6"]) == 0
    assert "prior_weight  0.6" in capsys.readouterr().out
    tuned = load_bundle(tmp_path / "b")
    assert tuned.decoder.prior_weight == 0.6
    recognizer = Recognizer(bundle)
    waveforms = [read_audio(tmp_path / f"{number}.wav") for number in range(3)]
    expected = Priors.of_speech([recognizer.log_probs(waveforms)]).log_priors
    np.testing.assert_allclose(tuned.priors.log_priors, expected, atol=1e-4)
