"""From a corpus to a served bundle: real recordings, a net of a few cells, one epoch."""

from pathlib import Path

import pytest

from asr.audio import read_file
from asr.recognizer import Recognizer
from recipes.common import cli
from recipes.common.audio import LIMITS
from recipes.custom.__main__ import RECIPE

SHARED = Path(__file__).parents[4] / "shared" / "data"
TINY = [
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--trainer.max_epochs", "1", "--model.network.num_layers", "1"),
    *("--model.network.hidden_size", "8", "--data.num_workers", "0"),
]

# Lightning's own, about versions to come.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]


def shared(name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: it lies beside the checkout")
    return folder


def run(*words):
    assert cli.main(RECIPE, [str(word) for word in words]) == 0


def train(prepare, tmp_path):
    """The commands after `prepare`; returns the bundle."""
    folder, bundle = tmp_path / "run", tmp_path / "bundle"
    run("fit", "--data.data_dir", prepare.data, "--run_dir", folder, *TINY)
    run("evaluate", "--run", folder, "--data", prepare.data, "--split", "test")
    run("export", "--run", folder, "--output", bundle)
    return bundle


def test_a_real_folder_of_digits_by_the_names_of_its_files(tmp_path, prepare, capsys):
    source, folder = shared("fsdd"), tmp_path / "digits"
    folder.mkdir()
    for path in source.glob("[0-3]_*_[01].flac"):
        (folder / path.name).symlink_to(path)
    told = ["--from", folder, "--name-pattern", "{text}_{speaker}_{take}"]
    assert prepare(*told) == 0
    assert set(prepare.texts.values()) == {"0", "1", "2", "3"}
    by_split = [{c.supervisions[0].speaker for c in cs.values()} for cs in prepare.splits.values()]
    assert len(set().union(*by_split)) == sum(map(len, by_split)) == 4
    bundle = train(prepare, tmp_path)
    recording = next(iter(prepare.splits["test"].values())).recording.sources[0].source
    [result] = Recognizer.load(bundle).recognize([read_file(recording, limits=LIMITS)])
    assert set(result.text) <= set("0123 ")


def test_a_real_kaldi_directory(tmp_path, prepare, capsys):
    source, home = shared("speechocean"), tmp_path / "speechocean"
    home.mkdir()
    (home / "wav").symlink_to(source / "wav")
    for split, directory in {"train": "train", "test": "dev"}.items():
        (home / split).mkdir()
        lines = {
            path.name: path.read_text().splitlines()
            for path in (source / directory).iterdir()
            if path.name in ("wav.scp", "text", "utt2spk", "spk2gender", "spk2age")
        }
        speakers = dict(line.split() for line in lines["utt2spk"])
        ids = list(speakers)[:: len(speakers) // 12]
        keys = {*ids, *(speakers[i] for i in ids)}
        for name, rows in lines.items():
            mine = [row for row in rows if row.split()[0] in keys]
            (home / split / name).write_text("\n".join(mine) + "\n")
    assert prepare("--from", home) == 0
    assert sorted(prepare.splits) == ["dev", "test", "train"]
    assert {c.supervisions[0].custom["gender"] for c in prepare.all.values()} == {"f", "m"}
    train(prepare, tmp_path)


def test_one_speaker_and_what_every_table_says_of_it(tmp_path, prepare, write_tone, capsys):
    for number in range(12):
        text = "AB"[number % 2] * (1 + number % 3)
        path = write_tone(tmp_path / "anna" / f"{number}.wav", 1.0, 300.0 * (1 + number % 2))
        path.with_suffix(".txt").write_text(text)
    assert prepare("--from", tmp_path, "--name-pattern", "{speaker}/{id}") == 0
    train(prepare, tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Splits divided by utterance: one speaker is in all of them.") == 3
