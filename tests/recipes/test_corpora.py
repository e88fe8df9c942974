"""Corpora in their published layouts, and what is said when they are not."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import write_wav
from asr.types import AsrError, CorpusError, Waveform
from recipes.an4 import corpus as an4
from recipes.an4.__main__ import RECIPE
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import Utterance, load_samples, read_manifest, write_manifest
from recipes.demo import corpus as demo
from recipes.librispeech import corpus as librispeech
from recipes.timit import corpus as timit


def tone(seconds=0.3, rate=16_000):
    t = np.arange(int(seconds * rate)) / rate
    return (0.1 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


def write_an4(root, speakers=("fabc", "mdef", "mghi"), suffix=".wav", dtype="<i2"):
    (root / "etc").mkdir(parents=True)
    ids, texts = [], []
    for speaker in speakers:
        folder = root / "wav" / "an4_clstk" / speaker
        folder.mkdir(parents=True)
        name = f"an1-{speaker}-b"
        ids.append(f"an4_clstk/{speaker}/{name}")
        texts.append(f"<s> GO  {speaker[0].upper()} </s> ({name})")
        if suffix == ".raw":
            (folder / f"{name}.raw").write_bytes((tone() * 32767).astype(dtype).tobytes())
        else:
            soundfile.write(folder / f"{name}{suffix}", tone(), 16_000)
    for part in ("train", "test"):
        (root / "etc" / f"an4_{part}.fileids").write_text("\n".join(ids) + "\n")
        (root / "etc" / f"an4_{part}.transcription").write_text("\n".join(texts) + "\n")
    return root


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_an4_reads_its_layout(tmp_path, suffix):
    found = an4.utterances(write_an4(tmp_path, suffix=suffix), "test")
    assert [u.text for u in found] == ["GO F", "GO M", "GO M"]
    assert [u.speaker for u in found] == ["fabc", "mdef", "mghi"]


@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_an4_reads_raw_audio_of_either_byte_order(tmp_path, dtype):
    found = an4.utterances(write_an4(tmp_path, suffix=".raw", dtype=dtype), "test")
    write_manifest(tmp_path / "m.jsonl.gz", found)
    for cut in read_manifest(tmp_path / "m.jsonl.gz"):
        np.testing.assert_allclose(load_samples(cut).samples, tone(), atol=1e-4)


@pytest.mark.parametrize("speakers", [("fa", "ma", "mb"), ("anna", "bert"), ("xa", "xb", "xc")])
def test_an4_holds_out_some_speakers_and_keeps_some(tmp_path, speakers):
    write_an4(tmp_path, speakers)
    train = {u.speaker for u in an4.utterances(tmp_path, "train")}
    dev = {u.speaker for u in an4.utterances(tmp_path, "dev")}
    assert train
    assert dev
    assert train | dev == set(speakers)
    assert not train & dev


@pytest.mark.parametrize("count", [2, 3, 20])
def test_each_an4_speaker_is_held_out_in_a_fold_and_trains_in_the_others(tmp_path, count):
    speakers = [f"{'fm'[number % 2]}{number:03}" for number in range(count)]
    write_an4(tmp_path, speakers)
    seen = set()
    for fold in range(an4.FOLDS):
        train, dev = (
            {u.speaker for u in an4.utterances(tmp_path, split, fold)} for split in ("train", "dev")
        )
        assert train
        assert dev
        assert not train & dev
        assert train | dev == set(speakers)
        assert count < 20 or not seen & dev
        seen |= dev
    assert seen == set(speakers)


def test_the_an4_recipe_prepares_a_fold(tmp_path):
    write_an4(tmp_path / "an4", [f"{sex}{number:03}" for number in range(10) for sex in "fm"])
    found = []
    for fold in ("0", "3"):
        command = ["prepare", "--corpus", str(tmp_path / "an4"), "--data", str(tmp_path / fold)]
        assert main(RECIPE, [*command, "--fold", fold]) == 0
        cuts = read_manifest(manifest_path(tmp_path / fold, "dev"))
        found.append({cut.supervisions[0].speaker for cut in cuts})
    assert not found[0] & found[1]
    with pytest.raises(SystemExit, match="2"):
        main(RECIPE, [*command, "--fold", "8"])


def test_an4_with_its_dictionary_is_prepared_as_phones_and_the_letter_a_has_its_name(tmp_path):
    corpus = write_an4(tmp_path / "an4", ("fabc", "mdef", "aghi"))
    (corpus / "etc" / "an4.dic").write_text(
        "A  AH\nA(2)  EY\nF  EH F\nM  EH M\nGO  G OW\nTEN  T EH N\n"
    )
    command = ["prepare", "--corpus", str(corpus), "--data", str(tmp_path / "data")]
    assert main(RECIPE, command) == 0
    lexicon = (tmp_path / "data" / "lexicon.txt").read_text().splitlines()
    assert [line.split()[0] for line in lexicon] == ["A", "A", "F", "GO", "M", "TEN"]
    assert lexicon[0] == "A EY"
    assert main(RECIPE, [*command, "--units", "characters"]) == 0
    assert not (tmp_path / "data" / "lexicon.txt").exists()


def test_real_an4_is_whole_and_its_speakers_disjoint(shared_data):
    splits = {split: an4.utterances(shared_data("an4"), split) for split in ("train", "dev")}
    speakers = {split: {u.speaker for u in found} for split, found in splits.items()}
    assert len(splits["train"]) + len(splits["dev"]) == 948
    assert len(speakers["train"] | speakers["dev"]) == 74
    assert not speakers["train"] & speakers["dev"]
    assert {name[0] for name in speakers["dev"]} == {"f", "m"}


def broken_an4(root, what):
    write_an4(root, ("fabc",) if what == "one speaker" else ("fabc", "mdef"))
    if what == "no audio":
        next(root.rglob("*.wav")).unlink()
    elif what == "no fileids":
        (root / "etc" / "an4_train.fileids").unlink()
    elif what == "no text":
        (root / "etc" / "an4_train.transcription").write_text("<s> A </s> (other)\n")
    elif what == "bad line":
        (root / "etc" / "an4_train.transcription").write_text("HELLO\n")
    elif what == "no folder":
        (root / "etc" / "an4_train.fileids").write_text("an1-fabc-b\n")


@pytest.mark.parametrize(
    "what", ["one speaker", "no audio", "no fileids", "no text", "bad line", "no folder"]
)
def test_a_broken_an4_is_refused_with_its_place(tmp_path, what):
    broken_an4(tmp_path, what)
    with pytest.raises(CorpusError) as caught:
        an4.utterances(tmp_path, "train")
    assert caught.value.remedy


def test_librispeech_reads_openslr_layout(tmp_path):
    for subset in ("train-clean-5", "dev-clean-2"):
        folder = tmp_path / subset / "84" / "121"
        folder.mkdir(parents=True)
        soundfile.write(folder / "84-121-0000.flac", tone(), 16_000)
        (folder / "84-121.trans.txt").write_text("84-121-0000 GO DO YOU HEAR\n")
    (found,) = librispeech.utterances(tmp_path, "train")
    assert (found.text, found.speaker) == ("GO DO YOU HEAR", "84")
    with pytest.raises(CorpusError, match="test"):
        librispeech.utterances(tmp_path, "test")


@pytest.mark.parametrize("corpus", [an4, timit, librispeech, demo])
@pytest.mark.parametrize("split", ["train", "holdout"])
def test_a_missing_folder_or_split_is_named(corpus, split, tmp_path):
    with pytest.raises(CorpusError):
        corpus.utterances(tmp_path / "nowhere", split)


def test_the_demo_speaks_always_the_same_in_voices_of_one_split_only():
    timbres = {}
    for split in demo.SPLITS:
        lines = demo.script(split)
        assert lines == demo.script(split)
        assert len({line.id for line in lines}) == len(lines) == demo.SIZES[split]
        timbres[split] = {line.voice.name.split("+")[1] for line in lines}
    assert not timbres["train"] & (timbres["dev"] | timbres["test"])
    assert not timbres["dev"] & timbres["test"]


def test_every_demo_voice_speaks(tmp_path):
    from recipes.demo.espeak import Voice, speak

    names = {f"en-us+{t}" for group in demo.TIMBRES.values() for t in group} | set(demo.ACCENTS)
    for name in sorted(names):
        assert 0.2 < speak("one two", Voice(name)).duration < 2.0
    with pytest.raises(AsrError, match="martian"):
        speak("one", Voice("martian"))


def test_synthesis_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SIZES", {"train": 2, "dev": 1, "test": 1})
    (tmp_path / "wav").mkdir()
    for split in demo.SPLITS:
        for line in demo.script(split)[:1]:
            write_wav(demo._path(tmp_path, line), Waveform(tone(), 16_000))
    monkeypatch.setattr(demo, "ProcessPoolExecutor", InThisProcess)
    demo.synthesise(tmp_path)
    kept, spoken = (u.audio for u in demo.utterances(tmp_path, "train"))
    np.testing.assert_allclose(soundfile.read(kept)[0], tone(), atol=1e-4)
    assert soundfile.info(spoken).samplerate == 16_000
    rows = [json.loads(row) for row in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert len(demo.utterances(tmp_path, "train")) == 2


class InThisProcess:
    """A pool of no processes."""

    def __init__(self, mp_context):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, jobs, chunksize):
        return map(function, jobs)


def one_utterance(tmp_path):
    write_wav(tmp_path / "a.wav", Waveform(tone(), 16_000))
    return Utterance("a", tmp_path / "a.wav", "GO", "x")


def test_manifests_keep_what_they_were_given(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    write_manifest(path, [one_utterance(tmp_path)])
    (cut,) = read_manifest(path)
    assert (cut.id, cut.supervisions[0].text, cut.supervisions[0].speaker) == ("a", "GO", "x")
    assert cut.duration == pytest.approx(0.3)
    np.testing.assert_allclose(load_samples(cut).samples, tone(), atol=1e-4)
    assert list(tmp_path.glob(".partial*")) == []


def test_manifests_refuse_nothing_and_doubles(tmp_path):
    with pytest.raises(CorpusError, match="no utterances"):
        write_manifest(tmp_path / "m.jsonl.gz", [])
    with pytest.raises(CorpusError, match="a"):
        write_manifest(tmp_path / "m.jsonl.gz", [one_utterance(tmp_path)] * 2)


def test_a_row_without_audio_is_named(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    write_manifest(path, [one_utterance(tmp_path)])
    (tmp_path / "a.wav").unlink()
    with pytest.raises(CorpusError, match=r"row 1 \(a\)"):
        read_manifest(path)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"not gzip", gzip.compress(b"{}\n", mtime=0), gzip.compress(b"", mtime=0)],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, content):
    path = tmp_path / "m.jsonl.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match="prepare"):
        read_manifest(path)
