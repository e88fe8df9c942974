"""Each form of a corpus, as real ones have it, is recognised and read as it is meant."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from recipes.common.audio import load_samples

RATE = 8_000
TEXTS = {"one": "TURN ON THE LIGHT", "two": "TURN IT OFF", "three": "STOP", "four": "GO ON"}


def recordings(folder, write_tone, suffix=".wav"):
    return {name: write_tone(folder / f"{name}{suffix}") for name in TEXTS}


# Tables


def quoted(text):
    return f'"{text}"'


TABLES = {
    "data.csv": ("path,sentence\n", "audio/{name}.wav,{text}\n"),
    "quoted.csv": ("file_name;text;speaker\n", 'audio/{name}.wav;"{text}";anna\n'),
    "windows.csv": ("\ufeffid,wav,transcript\r\n", "u-{name},{name}.wav,{text}\r\n"),
    "data.tsv": ("Audio Path\tText\n", '{name}.wav\t{text} "x\n'),
    "no-header.csv": ("", "audio/{name}.wav,{text}\n"),
    "no-suffix.tsv": ("audio\ttext\n", "{name}\t{text}\n"),
    "bars.csv": ("wav|text\n", "{name}|{text}\n"),
    "lines.jsonl": ("", '{{"audio": {{"path": "audio/{name}.wav"}}, "text": "{text}"}}\n'),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_kind_with_its_columns_guessed_and_printed(
    tmp_path, prepare, write_tone, name, capsys
):
    recordings(tmp_path / "audio", write_tone)
    header, row = TABLES[name]
    rows = [row.format(name=n, text=t) for n, t in TEXTS.items()]
    (tmp_path / name).write_text(header + "".join(rows), "utf-8", newline="")
    assert prepare("--from", tmp_path / name) == 0
    extra = ' "x' if name == "data.tsv" else ""
    assert sorted(prepare.texts.values()) == sorted(text + extra for text in TEXTS.values())
    assert "columns: audio=" in capsys.readouterr().out
    if name == "windows.csv":
        assert set(prepare.texts) == {f"u-{n}" for n in TEXTS}
    if name == "quoted.csv":
        assert set(prepare.speakers.values()) == {"anna"}


@pytest.mark.parametrize("by_id", [False, True])
def test_json_as_a_list_or_by_id(tmp_path, prepare, write_tone, by_id):
    recordings(tmp_path, write_tone)
    rows = {f"u-{n}": {"wav": f"{n}.wav", "words": t} for n, t in TEXTS.items()}
    value = rows if by_id else [{"id": name, **row} for name, row in rows.items()]
    (tmp_path / "data.json").write_text(json.dumps(value, indent=1))
    assert prepare("--from", tmp_path / "data.json") == 0
    assert prepare.texts == {f"u-{n}": t for n, t in TEXTS.items()}


def test_columns_of_any_name_are_told_and_other_columns_are_kept(tmp_path, prepare, write_tone):
    recordings(tmp_path / "elsewhere", write_tone)
    rows = "".join(f"{t},w,{n},{n[0]}\n" for n, t in TEXTS.items())
    (tmp_path / "t.csv").write_text(f"Was,gender,Datei,Wer\n{rows}")
    told = ["--columns", "audio=Datei", "text=Was", "speaker=Wer"]
    assert prepare("--from", tmp_path / "t.csv", *told, "--audio-dir", tmp_path / "elsewhere") == 0
    assert prepare.texts == TEXTS
    assert prepare.speakers == {name: name[0] for name in TEXTS}
    assert prepare.all["one"].supervisions[0].custom["gender"] == "w"


def test_columns_by_number(tmp_path, prepare, write_tone):
    recordings(tmp_path, write_tone)
    (tmp_path / "t.tsv").write_text("".join(f"7\t{t}\tx\t{n}\n" for n, t in TEXTS.items()))
    told = ["--columns", "audio=4", "text=2"]
    assert prepare("--from", tmp_path / "t.tsv", *told) == 0
    assert prepare.texts == TEXTS


def test_nemos_manifest_with_offset_and_duration(tmp_path, prepare, write_tone):
    path = write_tone(tmp_path / "long.wav", 4.0)
    samples = soundfile.read(path, dtype="float32")[0]
    rows = [
        {"audio_filepath": "long.wav", "text": f"part {n}", "offset": 0.5 * n, "duration": 0.5}
        for n in range(6)
    ]
    (tmp_path / "train_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert prepare("--from", tmp_path / "train_manifest.json") == 0
    assert sorted(prepare.texts.values()) == [f"part {n}" for n in range(6)]
    for cut in prepare.all.values():
        number = int(cut.supervisions[0].text.split()[1])
        part = samples[number * RATE // 2 : (number + 1) * RATE // 2]
        np.testing.assert_allclose(load_samples(cut).samples, part, atol=1e-6)


def test_a_duration_without_offset_is_nemos_or_of_no_matter(tmp_path, prepare, write_tone):
    """Common Voice, for one, counts milliseconds."""
    recordings(tmp_path, write_tone)
    rows = "".join(f"{n}.wav,{t},{500}\n" for n, t in TEXTS.items())
    (tmp_path / "t.csv").write_text(f"path,text,duration\n{rows}")
    assert prepare("--from", tmp_path / "t.csv") == 0
    assert {cut.duration for cut in prepare.all.values()} == {0.5}


def test_common_voice(tmp_path, prepare, write_tone):
    home = tmp_path / "cv-corpus-1" / "cy"
    columns = ["client_id", "path", "sentence", "up_votes", "age", "gender", "accents", "locale"]
    for split in ("train", "dev", "test", "validated", "invalidated"):
        rows = ["\t".join(columns)]
        for n, text in enumerate(TEXTS.values()):
            name = f"common_voice_cy_{split}{n}.mp3"
            write_tone(home / "clips" / name, format="MP3")
            rows.append(
                "\t".join([f"{split}{n % 2:064x}", name, f'"{text}', "2", "", "", "", "cy"])
            )
        (home / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    assert prepare("--from", home) == 0
    assert {split: len(cuts) for split, cuts in prepare.splits.items()} == {
        "train": 4,
        "dev": 4,
        "test": 4,
    }
    assert prepare.texts["common_voice_cy_train2"] == '"STOP'  # a quote is a letter there
    assert prepare.speakers["common_voice_cy_dev1"] == f"dev{1:064x}"
    assert prepare.all["common_voice_cy_test0"].supervisions[0].custom["locale"] == "cy"
    shutil.rmtree(prepare.data)
    assert prepare("--from", home / "validated.tsv", "--split-by", "utterance") == 0
    assert len(prepare.all) == 4


def test_ljspeech_one_speaker_with_texts_in_words(tmp_path, prepare, write_tone, capsys):
    home = tmp_path / "LJSpeech-1.1"
    rows = []
    for n, text in enumerate(TEXTS.values()):
        write_tone(home / "wavs" / f"LJ001-{n:04d}.wav")
        rows.append(f'LJ001-{n:04d}|{n} "{text}|{text}\n')
    (home / "metadata.csv").write_text("".join(rows))
    assert prepare("--from", home) == 0
    assert sorted(prepare.texts.values()) == sorted(TEXTS.values())
    assert "divided by utterance: one speaker is in all" in " ".join(
        capsys.readouterr().out.split()
    )


# Folders


def test_a_text_beside_each_recording(tmp_path, prepare, write_tone):
    for speaker in ("anna", "ben", "cleo"):
        for name, path in recordings(tmp_path / "r" / speaker, write_tone, ".flac").items():
            path.with_suffix(".txt").write_text(f"{TEXTS[name]}\n")
    assert prepare("--from", tmp_path / "r", "--name-pattern", "{speaker}/{take}") == 0
    assert prepare.texts == {
        f"{speaker}-{name}": text
        for speaker in ("anna", "ben", "cleo")
        for name, text in TEXTS.items()
    }
    for cuts in prepare.splits.values():
        assert len({cut.supervisions[0].speaker for cut in cuts.values()}) == 1


def test_folders_called_as_splits_give_them(tmp_path, prepare, write_tone):
    for split in ("training", "valid", "test-other"):
        for name, path in recordings(tmp_path / "r" / split / "x", write_tone).items():
            path.with_suffix(".lab").write_text(TEXTS[name])
    assert prepare("--from", tmp_path / "r") == 0
    for split, folder in {"train": "training", "dev": "valid", "test": "test-other"}.items():
        paths = [cut.recording.sources[0].source for cut in prepare.splits[split].values()]
        assert len(paths) == 4
        assert all(f"/{folder}/" in path for path in paths)


def test_what_is_said_and_by_whom_in_the_names_of_files(tmp_path, prepare, write_tone):
    for speaker in ("ann-marie", "bo", "cy"):
        for text in ("turn_on", "stop"):
            write_tone(tmp_path / "r" / f"{text}_{speaker}_7.wav")
    pattern = "{text}_{speaker}_{take}"
    assert prepare("--from", tmp_path / "r", "--name-pattern", pattern) == 0
    assert prepare.texts["turn_on_ann-marie_7"] == "turn on"
    assert set(prepare.speakers.values()) == {"ann-marie", "bo", "cy"}
    assert prepare.all["stop_bo_7"].supervisions[0].custom["take"] == "7"


def test_the_layout_of_an4(tmp_path, prepare, write_tone):
    home = tmp_path / "mine"
    ids, texts = [], []
    for name, text in TEXTS.items():
        write_tone(home / "wav" / f"{name}.wav")
        ids.append(f"{name}\n")
        texts.append(f"<s> {text} </s> ({name})\n")
    (home / "etc").mkdir()
    (home / "etc" / "mine_train.fileids").write_text("".join(ids))
    (home / "etc" / "mine_train.transcription").write_text("".join(texts))
    assert prepare("--from", home) == 0
    assert prepare.texts == TEXTS
    assert set(prepare.speakers.values()) == {None}


# lhotse


def test_a_cutset_with_start_duration_and_several_supervisions(tmp_path, prepare, write_tone):
    path = write_tone(tmp_path / "long.wav", 10.0)
    samples = soundfile.read(path, dtype="float32")[0]
    whole = Recording.from_file(path, recording_id="long").to_cut()
    said = [
        SupervisionSegment(f"s{n}", "long", 2.0 + n, 0.75, text=f"said {n}", speaker=f"x{n}")
        for n in range(3)
    ]
    whole.supervisions = said
    trimmed = whole.truncate(offset=1.0, duration=3.0, keep_excessive_supervisions=False)
    cuts = [trimmed.with_id("trimmed")]
    for n in (5, 6):
        cut = whole.truncate(offset=n, duration=0.5)
        cut.supervisions = [SupervisionSegment(f"t{n}", "long", 0.0, 0.5, text=f"at {n}")]
        cuts.append(cut.with_id(f"c{n}"))
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    assert prepare("--from", tmp_path / "cuts.jsonl.gz", "--split-by", "utterance") == 0
    assert prepare.texts == {"s0": "said 0", "s1": "said 1", "c5": "at 5", "c6": "at 6"}
    assert prepare.speakers["s1"] == "x1"
    spans = {"s0": (2.0, 0.75), "s1": (3.0, 0.75), "c5": (5.0, 0.5), "c6": (6.0, 0.5)}
    for name, (start, duration) in spans.items():
        first = round(start * RATE)
        expected = samples[first : first + round(duration * RATE)]
        np.testing.assert_allclose(load_samples(prepare.all[name]).samples, expected, atol=1e-6)


def test_cutsets_called_as_splits_and_a_channel_of_two(tmp_path, prepare):
    for split in ("train", "dev"):
        path = tmp_path / f"{split}.wav"
        samples = 0.1 * np.random.default_rng(0).standard_normal((RATE, 2))
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        cut = Recording.from_file(path).to_cut().with_channels(1)
        cut.supervisions = [SupervisionSegment("s", split, 0.0, 1.0, channel=1, text="GO")]
        CutSet.from_cuts([cut.with_id(split)]).to_file(tmp_path / f"cuts_{split}.jsonl.gz")
    assert prepare("--from", tmp_path) == 0
    assert {split: list(cuts) for split, cuts in prepare.splits.items()} == {
        "train": ["train"],
        "dev": ["dev"],
    }
    np.testing.assert_allclose(load_samples(prepare.all["dev"]).samples, samples[:, 1], atol=1e-7)
