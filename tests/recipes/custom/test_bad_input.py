"""What is wrong is named, all of it, with file, line and remedy; status 2; nothing is written."""

import json

import numpy as np
import pytest
import soundfile

from recipes.common.data import manifest_path


@pytest.fixture
def table(tmp_path, write_tone):
    """Writes a table of six recordings and further lines; returns its path."""

    def write(*more, header="id,path,text,start,end"):
        rows = []
        for number in range(6):
            write_tone(tmp_path / f"{number}.wav")
            rows.append(f"u{number},{number}.wav,GO {number},,")
        path = tmp_path / "t.csv"
        path.write_text("\n".join([header, *rows, *more]) + "\n")
        return path

    return write


BAD_ROWS = {
    "b1,gone.wav,GO,,": "b1: {folder}/gone.wav: cannot read the file: No such file",
    "b2,rubbish.wav,GO,,": "b2: {folder}/rubbish.wav: this is not audio",
    "b3,0.wav,,,": "b3: {table}, line {line}: there is no text",
    "b4,,GO,,": "b4: {table}, line {line}: no audio is named",
    "b5,0.wav,GO": "(no id): {table}, line {line}: not as many columns as the first row",
    "b6,0.wav,GO,soon,": "b6: {table}, line {line}: not a time or a channel",
    "b7,0.wav,GO,9.0,10.0": "b7: {folder}/0.wav: the span ends at 10.00 s, the audio at 0.50 s",
    "b8,0.wav,GO,0.4,0.2": "b8: {folder}/0.wav: a span of -0.2 s",
    "b9,empty.wav,GO,,": "b9: {folder}/empty.wav: the audio is empty",
    "b10,nan.wav,GO,,": "b10: {folder}/nan.wav: sample 7 is not a finite number",
}


def test_everything_bad_is_in_one_list_with_its_place(table, prepare, tmp_path, capsys):
    path = table(*BAD_ROWS)
    (tmp_path / "rubbish.wav").write_bytes(b"rubbish" * 99)
    (tmp_path / "empty.wav").write_bytes(b"")
    samples = np.zeros(800)
    samples[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 8_000, subtype="FLOAT")
    assert prepare("--from", path) == 2
    message = capsys.readouterr().err
    assert f"{len(BAD_ROWS)} of {6 + len(BAD_ROWS)} recordings cannot be used" in message
    for number, line in enumerate(BAD_ROWS.values(), start=8):
        assert line.format(folder=tmp_path, table=path, line=number) in message
    assert "--skip-bad" in message
    assert not prepare.data.exists()
    assert prepare("--from", path, "--skip-bad") == 0
    assert set(prepare.all) == {f"u{n}" for n in range(6)}
    listed = (prepare.data / "left_out.tsv").read_text().splitlines()[1:]
    assert len(listed) == len(BAD_ROWS)
    assert {row.split("\t")[0] for row in listed} == {
        *(f"b{n}" for n in range(1, 11) if n != 5),
        "(no id)",
    }


def test_two_of_one_id_are_named_with_both_places(table, prepare, capsys):
    path = table("u3,0.wav,GO,,")
    assert prepare("--from", path) == 2
    assert f"{path}, line 8: u3 stands at {path}, line 5 too" in capsys.readouterr().err


def test_a_split_of_no_known_name_is_not_dropped_unsaid(tmp_path, prepare, write_tone, capsys):
    splits = ["train", "train", "dev", "extra"]
    rows = [f"{write_tone(tmp_path / f'{n}.wav')},GO,{s}" for n, s in enumerate(splits)]
    (tmp_path / "t.csv").write_text("\n".join(["path,text,split", *rows]))
    assert prepare("--from", tmp_path / "t.csv") == 2
    assert f"3: {tmp_path}/t.csv, line 5: others are in train" in capsys.readouterr().err
    assert prepare("--from", tmp_path / "t.csv", "--skip-bad") == 0
    assert [len(cuts) for cuts in prepare.splits.values()] == [2, 1]


WHOLE = {
    "gone.csv": (None, "there is no such file"),
    "empty.csv": ("", "the table is empty"),
    "columns.csv": ("was,datei\na,b\n", "--columns audio=NAME; there are: "),
    "quotes.csv": ('path,text\na.wav,"GO\n', r"line 2: not CSV"),
    "broken.jsonl": ('{"audio": "a.wav", "text": "GO"}\n{"audio"\n', "line 2: not JSON"),
    "numbers.json": ("[1, 2]", "row 1: not an object of names"),
    "latin.csv": ("path,text\na.wav,GR\xdcSSE\n".encode("latin-1"), "line 2: not UTF-8"),
    "no-audio.csv": ("path,text\n", "the table has no rows"),
    "note.docx": ("x", "not of a form that is known"),
    "cuts.jsonl": ('{"supervisions": 7}\n{}\n', "not a CutSet"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_no_corpus_is_named(tmp_path, prepare, name, capsys):
    content, message = WHOLE[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert prepare("--from", path) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}")
    assert message in said
    assert not prepare.data.exists()


@pytest.mark.parametrize("name", ["characters.tsv", "left_out.tsv", "train.tsv"])
def test_a_corpus_is_not_written_over(tmp_path, prepare, write_tone, name, capsys):
    prepare.data = tmp_path / "data"
    prepare.data.mkdir()
    rows = [f"{write_tone(tmp_path / f'{n}.wav')}\tGO\ts{n}" for n in range(4)]
    path = prepare.data / name
    path.write_text("\n".join(["path\ttext\tspeaker", *rows]))
    before = path.read_bytes()
    done = prepare("--from", path, "--split-by", "utterance", "--test", "0")
    assert path.read_bytes() == before
    if name == "train.tsv":  # which `prepare` does not write
        assert done == 0
        assert prepare("--from", manifest_path(prepare.data, "train"), "--test", "0") == 2
        assert "would be written over" in capsys.readouterr().err
        assert path.read_bytes() == before
        return
    assert done == 2
    assert f"{path}: this would be written over {path}, which is read" in capsys.readouterr().err
    assert [file.name for file in prepare.data.iterdir()] == [name]


def test_a_folder_without_texts_tells_of_the_pattern(tmp_path, prepare, write_tone, capsys):
    write_tone(tmp_path / "r" / "a.wav")
    assert prepare("--from", tmp_path / "r") == 2
    assert "--name-pattern" in capsys.readouterr().err


def test_a_name_that_is_not_as_the_pattern_is_named(tmp_path, prepare, write_tone, capsys):
    for name in ("go_ann_1", "go_bob_1", "stop_cy_1", "noise"):
        write_tone(tmp_path / "r" / f"{name}.wav")
    told = ["--from", tmp_path / "r", "--name-pattern", "{text}_{speaker}_{take}"]
    assert prepare(*told) == 2
    assert f"noise.wav: {tmp_path}/r/noise.wav: its name is not as" in capsys.readouterr().err
    assert prepare(*told, "--skip-bad") == 0
    assert len(prepare.all) == 3


OPTIONS = {
    "--columns": (["wer=x"], "give NAME=VALUE"),
    "--list": (["later=x"], "give NAME=VALUE"),
    "--name-pattern": (["speaker"], "has to name things"),
    "--dev": (["most"], "is no part of a corpus"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_cannot_work_are_refused(table, prepare, option, capsys):
    words, message = OPTIONS[option]
    assert prepare("--from", table(), option, *words) == 2
    assert message in capsys.readouterr().err


def test_a_split_of_an_earlier_preparation_does_not_stay(table, prepare, capsys):
    path = table()
    assert prepare("--from", path) == 0
    assert set(prepare.splits) == {"train", "dev", "test"}
    assert prepare("--from", path, "--test", "0") == 2
    assert str(manifest_path(prepare.data, "test")) in capsys.readouterr().err


def test_a_padded_cut_of_lhotse_is_named(tmp_path, prepare, write_tone, capsys):
    from lhotse import CutSet, Recording, SupervisionSegment

    cuts = []
    for number in range(3):
        recording = Recording.from_file(write_tone(tmp_path / f"{number}.wav"))
        cut = recording.to_cut().with_id(f"c{number}")
        cut.supervisions = [SupervisionSegment(f"s{number}", recording.id, 0.0, 0.5, text="GO")]
        cuts.append(cut)
    cuts.append(cuts[0].pad(duration=2.0).with_id("padded"))
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    assert prepare("--from", tmp_path / "cuts.jsonl.gz") == 2
    message = capsys.readouterr().err
    assert "padded: " in message
    assert "row 4 (padded): a MixedCut is no span of one recording" in message
    assert "save_audios" in message


def test_a_data_set_that_is_damaged_is_named(tmp_path, prepare, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text(json.dumps({"_data_files": []}))
    assert prepare("--from", tmp_path / "set") == 2
    assert "dataset_info.json: cannot read" in capsys.readouterr().err
