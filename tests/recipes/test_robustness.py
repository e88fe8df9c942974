"""What training and features promise where silence, level and line are not those of the corpus.

A model of two tones learns within seconds what a model of speech takes longer for.
"""

import csv

import numpy as np
import pytest

from asr.audio import write_wav
from asr.cli.main import main as asr
from asr.recognizer import Recognizer
from asr.scoring import calibration_error, reliability, reliability_by_count
from asr.types import Waveform
from recipes.common.cli import main, prepare
from recipes.demo.__main__ import RECIPE as DEMO
from recipes.demo.corpus import synthesise

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

AUGMENT = (
    "{silence: {probability: 0.7, max_before: 0.8, max_after: 0.8}, no_speech: {probability: 0.15},"
    " gain: {min_db: -40}, computed_noise: {colours: [white, pink]}, telephone: {}}"
)


@pytest.fixture(scope="module")
def bundle(toy, toy_data, tmp_path_factory):
    """A bundle of the toy, trained with what the demo's model is trained with."""
    folder = tmp_path_factory.mktemp("robust")
    options = ["--data.augment", AUGMENT, "--model.features.silence_db", "30"]
    ends = ["--trainer.max_epochs", "40", "--trainer.check_val_every_n_epoch", "20"]
    assert toy.fit(toy_data, folder / "run", *options, *ends) == 0
    last = str(folder / "run" / "checkpoints" / "last.ckpt")  # the best is an early one: WER 0
    export = ["export", "--checkpoint", last, "--output", str(folder / "bundle")]
    assert main(toy.recipe(), export) == 0
    return folder / "bundle"


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_promises(folder, split, clean_rate):
    """Silence and level below one point, lines below five, no word in three seconds of noise."""
    clean, *conditions = table_of(folder / f"{split}.greedy.conditions.csv")
    assert float(clean["error_rate"]) < clean_rate
    for each in conditions:
        most = 0.01 if each["condition"] in ("silence", "hiss", "gain") else 0.05
        assert float(each["rise"]) < most, each
    for audio in table_of(folder / f"{split}.greedy.no-words.csv"):
        assert audio["with_words"] == "0", audio


def test_silence_level_and_line_cost_little_and_nothing_is_heard_where_nobody_speaks(
    toy, toy_data, bundle, tmp_path
):
    where = ["--bundle", str(bundle), "--data", str(toy_data), "--results", str(tmp_path)]
    names = "silence,hiss,gain,8khz,mulaw,telephone"
    assert main(toy.recipe(), ["evaluate", *where, "--split", "train", "--conditions", names]) == 0
    check_promises(tmp_path, "train", 0.05)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_model_of_the_demo_keeps_the_same_promises(tmp_path):
    corpus, data, run = (tmp_path / name for name in ("corpus", "data", "run"))
    synthesise(corpus)
    prepare(DEMO, corpus, data)
    assert main(DEMO, ["fit", "--data.data_dir", str(data), "--run_dir", str(run)]) == 0
    where = ["--run", str(run), "--data", str(data), "--results", str(tmp_path)]
    names = "silence,hiss,gain,8khz,mulaw"
    assert main(DEMO, ["evaluate", *where, "--split", "test", "--conditions", names]) == 0
    check_promises(tmp_path, "test", 0.12)


def noisy(toy, count, seed):
    """Words and how they sound, in noise that hides some of them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        text = "".join(rng.choice(["a", "b"], size=rng.integers(1, 4)))
        samples = toy.spoken(text, rng)
        noise = rng.uniform(0.05, 0.5) * rng.standard_normal(len(samples))
        samples = (samples + noise).astype("f4")
        yield text, Waveform(samples / max(1.0, np.abs(samples).max()), toy.RATE)


def test_words_said_with_0_9_are_right_nine_times_in_ten_on_other_recordings(toy, bundle, tmp_path):
    lines = []
    for number, (text, waveform) in enumerate(noisy(toy, 500, seed=1)):
        write_wav(tmp_path / f"{number}.wav", waveform)
        lines.append(f"{number}.wav\t{text}\n")
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    calibrated = tmp_path / "calibrated"
    pairs = ["--pairs", str(tmp_path / "pairs.tsv"), "--output", str(calibrated)]
    assert asr(["calibrate", str(bundle), *pairs]) == 0
    errors = []
    for place in (bundle, calibrated):
        recognizer = Recognizer.load(place)
        confidences, right = [], []
        words = list(noisy(toy, 1000, seed=2))
        for start in range(0, len(words), 100):
            part = words[start : start + 100]
            for (text, _), heard in zip(
                part, recognizer.recognize([waveform for _, waveform in part]), strict=True
            ):
                confidences += [word.confidence for word in heard.hypotheses[0].words]
                right += [word.text == text for word in heard.hypotheses[0].words]
        errors.append(calibration_error(reliability(confidences, right)))
        bins = reliability_by_count(confidences, right, bins=10)
    near = min(bins, key=lambda b: abs(b.confidence - 0.9))
    assert near.confidence == pytest.approx(0.9, abs=0.05)
    low, high = near.interval
    assert low <= 0.9 <= high
    assert errors[1] <= 0.05 < errors[0]
