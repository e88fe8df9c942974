"""Kaldi's data directories, with everything that may stand in them."""

import re

import numpy as np
import pytest
import soundfile

from recipes.common.audio import load_samples
from recipes.custom.kaldi import _unpacked

RATE = 8_000


@pytest.fixture
def directory(tmp_path, write_tone):
    """Three speakers with two recordings each; returns the directory."""
    folder = tmp_path / "data" / "all"
    folder.mkdir(parents=True)
    lines = {name: [] for name in ("wav.scp", "text", "utt2spk", "spk2gender", "utt2lang")}
    for speaker in ("a", "b", "c"):
        lines["spk2gender"].append(f"{speaker} {'f' if speaker == 'a' else 'm'}")
        for number in range(2):
            name = f"{speaker}-{number}"
            write_tone(tmp_path / "wavs" / f"{name}.flac", 1.0)
            lines["wav.scp"].append(f"{name} wavs/{name}.flac")  # from where scripts run
            lines["text"].append(f"{name} HELLO {speaker.upper()}")
            lines["utt2spk"].append(f"{name} {speaker}")
            lines["utt2lang"].append(f"{name} en")
    write(folder, lines)
    return folder


def write(folder, files):
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_recordings_with_speakers_and_what_is_known_of_them(directory, prepare):
    assert prepare("--from", directory) == 0
    assert prepare.texts == {f"{s}-{n}": f"HELLO {s.upper()}" for s in "abc" for n in (0, 1)}
    assert prepare.speakers == {f"{s}-{n}": s for s in "abc" for n in (0, 1)}
    assert prepare.all["a-1"].supervisions[0].custom["gender"] == "f"
    assert prepare.all["b-0"].supervisions[0].custom["lang"] == "en"
    assert len(prepare.splits) == 3


def test_segments_of_long_recordings(directory, prepare, write_tone, tmp_path):
    path = write_tone(tmp_path / "wavs" / "long.flac", 10.0)
    samples = soundfile.read(path, dtype="float32")[0]
    spans = {f"u{n}": (n + 0.25, n + 0.75) for n in range(4)} | {"end": (9.5, -1)}
    write(
        directory,
        {
            "wav.scp": ["long wavs/long.flac"],
            "segments": [f"{name} long {start} {end}" for name, (start, end) in spans.items()],
            "text": [f"{name} SAID {name}" for name in spans],
            "utt2spk": [f"{name} {name}" for name in spans],  # nobody knows who
        },
    )
    assert prepare("--from", directory) == 0
    assert set(prepare.speakers.values()) == {None}
    for name, (start, end) in spans.items():
        part = samples[round(start * RATE) : None if end < 0 else round(end * RATE)]
        np.testing.assert_allclose(load_samples(prepare.all[name]).samples, part, atol=1e-6)


def test_directories_in_a_folder_are_its_splits(directory, prepare, tmp_path):
    for split, speaker in {"train_clean": "a", "dev": "b", "eval": "c"}.items():
        (tmp_path / "kaldi" / split).mkdir(parents=True)
        for name in ("wav.scp", "text", "utt2spk"):
            lines = (directory / name).read_text().splitlines()
            mine = [line for line in lines if line.startswith(f"{speaker}-")]
            write(tmp_path / "kaldi" / split, {name: mine})
    for lines in (tmp_path / "kaldi").glob("*/wav.scp"):
        lines.write_text(lines.read_text().replace("wavs/", f"{tmp_path}/wavs/"))
    assert prepare("--from", tmp_path / "kaldi") == 0
    assert {s: sorted(cuts) for s, cuts in prepare.splits.items()} == {
        "train": ["a-0", "a-1"],
        "dev": ["b-0", "b-1"],
        "test": ["c-0", "c-1"],
    }


@pytest.mark.parametrize("channel", [1, 2])
def test_sph2pipe_and_flac_need_not_be_run(directory, prepare, tmp_path, channel):
    samples = 0.1 * np.random.default_rng(0).standard_normal((RATE, 2))
    soundfile.write(tmp_path / "call.sph", samples, RATE, format="NIST")
    lines = (directory / "wav.scp").read_text().splitlines()
    lines[0] = f"a-0 /opt/tools/sph2pipe -f wav -p -c {channel} {tmp_path}/call.sph |"
    lines[1] = f"a-1 flac -c -d -s {tmp_path}/wavs/a-1.flac |"
    write(directory, {"wav.scp": lines})
    assert prepare("--from", directory) == 0
    heard = load_samples(prepare.all["a-0"]).samples
    np.testing.assert_allclose(heard, samples[:, channel - 1], atol=1e-4)
    assert prepare.all["a-1"].recording.sources[0].source == str(tmp_path / "wavs" / "a-1.flac")


def test_commands_are_run_only_if_the_user_says_so(directory, prepare, tmp_path, capsys):
    lines = (directory / "wav.scp").read_text().splitlines()
    lines[0] = f"a-0 touch {tmp_path}/run && cat {tmp_path}/wavs/a-1.flac |"
    write(directory, {"wav.scp": lines})
    assert prepare("--from", directory) == 2
    message = capsys.readouterr().err
    assert f"a-0: {directory}/wav.scp, line 1: " in message
    assert "--run-commands" in message
    assert not (tmp_path / "run").exists()
    assert not prepare.data.exists()
    assert prepare("--from", directory, "--run-commands") == 0
    assert (tmp_path / "run").exists()
    expected = soundfile.read(tmp_path / "wavs" / "a-1.flac", dtype="float32")[0]
    np.testing.assert_allclose(load_samples(prepare.all["a-0"]).samples, expected, atol=1e-6)


def test_recordings_of_two_corpora_may_be_called_alike(tmp_path, prepare, write_tone):
    for number, split in enumerate(("train", "dev"), start=1):
        path = write_tone(tmp_path / f"{split}.wav", number)
        (tmp_path / "k" / split).mkdir(parents=True)
        write(
            tmp_path / "k" / split,
            {
                "wav.scp": [f"tape cat {path} | cat |"],
                "segments": [f"{split}-{n} tape 0.0 {n}" for n in (0.25, 0.5)],
                "text": [f"{split}-{n} GO" for n in (0.25, 0.5)],
            },
        )
    assert prepare("--from", tmp_path / "k", "--run-commands") == 0
    assert {c.recording.duration for c in prepare.cuts("train")} == {1.0}
    assert {c.recording.duration for c in prepare.cuts("dev")} == {2.0}


def test_recordings_that_commands_read_are_not_written_over(tmp_path, prepare, write_tone):
    """Where the folder of the corpus is that of the data as well."""
    home = tmp_path / "k"
    paths = [write_tone(home / "audio" / f"a-{n}.wav", 1.0, 200.0 + n) for n in range(4)]
    before = [path.read_bytes() for path in paths]
    scp = [f"{path.stem} head -c 8044 {path} |" for path in paths]  # half a second
    write(home, {"wav.scp": scp, "text": [f"{path.stem} GO" for path in paths]})
    prepare.data = home
    options = ["--run-commands", "--split-by", "utterance", "--test", "0", "--skip-bad"]
    for _ in range(2):
        prepare("--from", home, *options)
        assert [path.read_bytes() for path in paths] == before
        assert len(list((home / "audio").iterdir())) == 8


def test_a_command_that_fails_is_named_with_what_it_says(directory, prepare, capsys):
    lines = (directory / "wav.scp").read_text().splitlines()
    lines[0] = "a-0 echo no such tape >&2; exit 3 |"
    lines[2] = "b-0 true |"
    write(directory, {"wav.scp": lines})
    assert prepare("--from", directory, "--run-commands") == 2
    message = capsys.readouterr().err
    assert "a-0: " in message
    assert "ends with 3: no such tape" in message
    assert "ends with 0 and prints nothing" in message
    assert prepare("--from", directory, "--run-commands", "--skip-bad") == 0
    assert set(prepare.all) == {"a-1", "b-1", "c-0", "c-1"}


def test_lines_of_one_file_that_others_lack_are_all_named(directory, prepare, capsys):
    texts = (directory / "text").read_text().splitlines()
    write(directory, {"text": [*texts[1:], "ghost NOBODY"]})
    assert prepare("--from", directory) == 2
    message = capsys.readouterr().err
    assert f"a-0: {directory}/wav.scp, line 1: there is no text" in message
    assert f"ghost: {directory}/text, line 6: no such recording" in message


BROKEN = {
    "wav.scp": (["a-0 x.wav", "a-0 y.wav"], r"line 2: a-0 stands at"),
    "segments": (["u a-0 1.0"], r"segments, line 1: not 'utterance recording begin end'"),
    "text": (None, r"text: cannot read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line(directory, prepare, name, capsys):
    lines, message = BROKEN[name]
    if lines is None:
        (directory / name).unlink()
    else:
        write(directory, {name: lines})
    assert prepare("--from", directory) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("flac -c -d -s a.flac", "a.flac"),
        ("/usr/bin/flac -dcs a.flac", "a.flac"),
        ("flac --decode --stdout --totally-silent a.flac", "a.flac"),
        ("cat a.flac", "a.flac"),
        ("flac -d -c -s --skip=0:10.0 --until=0:12.0 a.flac", None),
        ("flac -dc --until=-0:05 a.flac", None),
        ("flac -dc --delete-input-file a.flac", None),
        ("flac -s a.flac", None),
        ("flac -dc -", None),
        ("cat -n a.flac", None),
    ],
)
def test_a_command_that_does_more_than_unpack_has_to_be_run(command, file):
    """A part of a recording is not the whole of it."""
    assert _unpacked(command) == (None if file is None else (file, None))
