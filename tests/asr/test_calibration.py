"""Calibrated confidences: as probable as they say."""

import json

import numpy as np
import pytest

from asr.audio import write_wav
from asr.bundle import load_bundle, save_bundle
from asr.calibration import CalibratedDecoder, Calibration, fit_calibration
from asr.cli.main import main
from asr.recognizer import Recognizer
from asr.scoring import calibration_error, reliability
from asr.types import BundleError, ConfigError, Hypothesis, TimedToken, Word


def too_sure(count, seed=0):
    """Confidences whose log-odds are three times too large and a half too high."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(1.0, 1.5, count)
    right = rng.random(count) < 1 / (1 + np.exp(-log_odds))
    return 1 / (1 + np.exp(-(3 * log_odds + 0.5))), right


def test_nine_in_ten_words_are_right_where_a_fitted_calibration_says_so():
    fitted = fit_calibration(*too_sure(4000))
    confidences, right = too_sure(20_000, seed=1)
    calibrated = np.array([fitted(c) for c in confidences])
    near = np.abs(calibrated - 0.9) < 0.03
    assert near.sum() > 500
    assert right[near].mean() == pytest.approx(0.9, abs=0.03)
    assert calibration_error(reliability(confidences, right)) > 0.1
    assert calibration_error(reliability(calibrated, right)) < 0.02


def test_the_fit_is_the_logistic_regression_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    confidences, right = too_sure(3000, seed=2)
    log_odds = np.log(confidences / (1 - confidences))
    theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], right)
    mine = fit_calibration(confidences, right)
    assert mine.slope == pytest.approx(float(theirs.coef_[0, 0]), abs=0.02)
    assert mine.offset == pytest.approx(float(theirs.intercept_[0]), abs=0.02)


def test_what_can_be_told_apart_in_full_has_a_finite_calibration():
    fitted = fit_calibration([0.9, 0.8, 0.2, 0.1], [True, True, False, False])
    assert fitted(0.85) > 0.9
    assert fitted(0.15) < 0.1


@pytest.mark.parametrize("right", [[], [True, True], [False, False]])
def test_what_teaches_nothing_is_refused(right):
    with pytest.raises(ConfigError, match="cannot be learned"):
        fit_calibration([0.5] * len(right), right)


@pytest.mark.parametrize(
    "values", [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf")), ("1", 0.0)]
)
def test_impossible_calibrations_are_refused(values):
    with pytest.raises(ConfigError):
        Calibration(*values)


def test_the_order_stays_and_the_ends_are_finite():
    calibration = Calibration(0.4, -0.3)
    values = [calibration(c) for c in (0.0, 1e-9, 0.2, 0.7, 1.0)]
    assert values == sorted(values)
    assert 0.0 <= values[0] < values[-1] <= 1.0


def test_words_are_calibrated_and_the_whole_is_their_mean():
    calibration = Calibration(0.5, -0.2)
    words = (Word("a", 0.0, 0.1, 0.99), Word("b", 0.2, 0.3, 0.6))
    tokens = (TimedToken("a", 0.0, 0.1, 0.99),)
    found = calibration.apply(Hypothesis("a b", -1.0, 0.8, tokens, words))
    expected = [calibration(0.99), calibration(0.6)]
    assert [word.confidence for word in found.words] == expected
    assert found.confidence == pytest.approx(sum(expected) / 2)
    assert found.tokens == tokens
    assert (found.text, found.score) == ("a b", -1.0)


def test_tokens_are_calibrated_where_there_are_no_words():
    calibration = Calibration(0.5, -0.2)
    found = calibration.apply(Hypothesis("ah", -1.0, 0.8, (TimedToken("ah", 0.0, 0.1, 0.9),)))
    assert found.tokens[0].confidence == found.confidence == calibration(0.9)
    silent = Hypothesis("", 0.0, 0.97)
    assert calibration.apply(silent) == silent


@pytest.fixture
def pairs(tmp_path, tiny_recognizer, waveform_of):
    """Recordings, of which every third has another text than the model hears."""
    lines = []
    for number in range(12):
        waveform = waveform_of(number, 1.5)
        write_wav(tmp_path / f"{number}.wav", waveform)
        [transcript] = tiny_recognizer.recognize([waveform])
        text = transcript.text if number % 3 else "e e e e"
        lines.append(f"{number}.wav\t{text}\n")
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    return tmp_path / "pairs.tsv"


def test_the_command_writes_it_and_recognition_uses_it(
    tmp_path, bundle_of, pairs, capsys, waveform_of
):
    place = tmp_path / "bundle"
    save_bundle(bundle_of(), place)
    (place / "README.md").write_text("a card")
    picture = tmp_path / "reliability.png"
    command = ["calibrate", str(place), "--pairs", str(pairs), "--picture", str(picture)]
    assert main([*command, "--dry-run"]) == 0
    assert not load_bundle(place).calibrations
    assert main(command) == 0
    assert "expected calibration error" in capsys.readouterr().out
    assert picture.stat().st_size > 1000
    assert (place / "README.md").read_text() == "a card"
    bundle = load_bundle(place)
    calibration = bundle.calibrations["greedy"]
    recognizer = Recognizer(bundle)
    assert isinstance(recognizer.decoder(), CalibratedDecoder)
    waveform = waveform_of(3, 1.5)
    [calibrated] = recognizer.recognize([waveform])
    [plain] = recognizer.recognize([waveform], recognizer.decoder(calibrated=False))
    assert calibrated.hypotheses[0] == calibration.apply(plain.hypotheses[0])
    capsys.readouterr()
    assert main(command) == 0  # again: of confidences as they are found
    assert load_bundle(place).calibrations["greedy"] == calibration


def test_recordings_that_are_left_out_are_told_by_the_exit_status(
    tmp_path, bundle_of, pairs, capsys
):
    save_bundle(bundle_of(), tmp_path / "bundle")
    with open(pairs, "a") as file:
        file.write("none.wav\ta b\n")
    assert main(["calibrate", str(tmp_path / "bundle"), "--pairs", str(pairs)]) == 2
    assert "none.wav" in capsys.readouterr().err
    assert load_bundle(tmp_path / "bundle").calibrations


def test_the_bundle_keeps_its_own_language_and_holds_no_picture(tmp_path, bundle_of, pairs, capsys):
    place = tmp_path / "bundle"
    save_bundle(bundle_of(), place)
    words = tmp_path / "words.txt"
    words.write_text("a\nb\nc\nd\ne\n")
    before = {path.name for path in place.iterdir()}
    command = ["calibrate", str(place), "--pairs", str(pairs)]
    assert main([*command, "--picture", str(place / "p.png")]) == 2
    assert "would stand in the bundle" in capsys.readouterr().err
    assert main([*command, "--lexicon", str(words), "--unk-score", "-1"]) == 0
    assert {path.name for path in place.iterdir()} == before
    assert set(load_bundle(place).calibrations) == {"beam"}


def test_a_damaged_calibration_is_named(tmp_path, bundle_of):
    place = tmp_path / "bundle"
    save_bundle(bundle_of(), place)
    config = json.loads((place / "config.json").read_text())
    config["calibration"] = {"greedy": {"slope": 0.0}}
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="slope"):
        load_bundle(place)


def test_errors_in_one_half_alone_calibrate_and_the_estimate_is_left_out(
    tmp_path, bundle_of, pairs, capsys
):
    place = tmp_path / "bundle"
    save_bundle(bundle_of(), place)
    pairs.write_text("".join(pairs.read_text().splitlines(keepends=True)[:2]))
    picture = tmp_path / "reliability.png"
    command = ["calibrate", str(place), "--pairs", str(pairs), "--picture", str(picture)]
    assert main(command) == 0
    assert "in one half of the recordings all words are right" in capsys.readouterr().out
    assert set(load_bundle(place).calibrations) == {"greedy"}
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize("wrong", [[0.5], [0.5, float("nan")], [0.5, 1.5]])
def test_confidences_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="one for one"):
        fit_calibration(wrong, [True, False])


def test_recordings_that_are_all_right_are_refused(tmp_path, tiny_bundle_path, capsys, waveform_of):
    write_wav(tmp_path / "a.wav", waveform_of(0, 1.0))
    main(["transcribe", str(tiny_bundle_path), str(tmp_path / "a.wav")])
    text = capsys.readouterr().out.strip().rpartition("\t")[2]
    (tmp_path / "pairs.tsv").write_text(f"a.wav\t{text}\n")
    arguments = [str(tiny_bundle_path), "--pairs", str(tmp_path / "pairs.tsv"), "--dry-run"]
    assert main(["calibrate", *arguments]) == 2
    assert "cannot be learned" in capsys.readouterr().err
