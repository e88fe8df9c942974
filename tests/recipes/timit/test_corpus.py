"""Reading TIMIT: layouts, splits, labels, and what is said of files that cannot be read."""

import shutil

import numpy as np
import pytest
import soundfile

from asr.tokens import BLANK, Tokenizer
from asr.types import CorpusError
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import load_samples, read_manifest
from recipes.timit.__main__ import RECIPE
from recipes.timit.corpus import SPLITS, Reading, _drawn, phones_beside, splits_of
from recipes.timit.phones import PHONES, PHONES48


def ids(corpus, split, **options):
    return [utterance.id for utterance in Reading(**options).utterances(corpus, split)]


@pytest.mark.parametrize("upper", [False, True])
def test_the_published_layout_is_read_in_any_case(write_timit, upper):
    corpus = write_timit(upper)
    assert ids(corpus, "dev") == ["faks0-si650", "faks0-sx37"]
    assert ids(corpus, "test") == ["mdab0-si650", "mdab0-sx37"]
    assert len(ids(corpus, "train")) == 8
    complete = ids(corpus, "test-complete")
    assert {name[:5] for name in complete} == {"faks0", "mdab0", "mtas0"}
    for utterance in Reading().utterances(corpus, "train"):
        assert phones_beside(utterance.audio).is_file()


@pytest.mark.parametrize("within", ["timit", "TIMIT", "data"])
def test_train_and_test_may_lie_in_a_folder_of_the_copy(write_timit, within):
    corpus = write_timit()
    (corpus.parent / "copy").mkdir()
    shutil.move(corpus, corpus.parent / "copy" / within)
    assert len(ids(corpus.parent / "copy", "train")) == 8


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (61, "h# sh ix q kcl k ae n gcl g h#"),
        (48, "sil sh ix cl k ae n vcl g sil"),
        (39, "sil sh ih sil k ae n sil g sil"),
    ],
)
def test_labels_are_those_asked_for(write_timit, tmp_path, labels, text):
    corpus, data = write_timit(), tmp_path / "data"
    where = ["--corpus", str(corpus), "--data", str(data)]
    assert main(RECIPE, ["prepare", *where, "--labels", str(labels)]) == 0
    for split in SPLITS:
        cuts = read_manifest(manifest_path(data, split))
        assert {cut.supervisions[0].text for cut in cuts} == {text}
    tokens = Tokenizer.load(data / "tokens.txt").tokens
    assert sorted(tokens) == sorted([BLANK, *PHONES[labels]])  # whatever the texts have of them


def test_48_labels_and_speakers_of_the_test_part_are_the_default(write_timit, tmp_path):
    corpus, data = write_timit(), tmp_path / "data"
    assert main(RECIPE, ["prepare", "--corpus", str(corpus), "--data", str(data)]) == 0
    assert {cut.id for cut in read_manifest(manifest_path(data, "dev"))} == set(ids(corpus, "dev"))
    text = next(iter(read_manifest(manifest_path(data, "train")))).supervisions[0].text
    assert set(text.split()) <= set(PHONES48)


def test_sa_sentences_are_kept_on_request_alone(write_timit):
    corpus = write_timit()
    assert not any("-sa" in name for split in SPLITS for name in ids(corpus, split))
    kept = ids(corpus, "dev", keep_sa=True)
    assert kept == ["faks0-sa1", "faks0-sa2", "faks0-si650", "faks0-sx37"]


def test_those_who_develop_may_be_of_the_training_part_and_then_do_not_train(write_timit):
    corpus = write_timit()
    drawn = {name[:5] for name in ids(corpus, "dev", dev="train")}
    assert len(drawn) == 1  # 5 % of four, and at least one
    rest = {name[:5] for name in ids(corpus, "train", dev="train")}
    assert drawn | rest == {"fcjf0", "mdac0", "faem0", "marc0"}
    assert not drawn & rest
    assert drawn == {name[:5] for name in ids(corpus, "dev", dev="train")}
    assert ids(corpus, "test", dev="train") == ids(corpus, "test")


def test_of_462_speakers_23_develop_as_many_sentences_as_in_the_paper():
    assert 8 * len(_drawn([f"s{n:03}" for n in range(462)])) == 184


def test_copies_in_riff_beside_what_is_packed_by_shorten_are_read(write_timit, tmp_path):
    corpus = write_timit()
    for path in list(corpus.rglob("*.WAV")):
        samples, rate = soundfile.read(path)
        pack(path)
        soundfile.write(path.with_name(f"{path.name}.wav"), samples, rate, format="WAV")
    data = tmp_path / "data"
    assert main(RECIPE, ["prepare", "--corpus", str(corpus), "--data", str(data)]) == 0
    cut = next(iter(read_manifest(manifest_path(data, "train"))))
    assert np.abs(load_samples(cut).samples).max() > 0.05
    source = Reading().utterances(corpus, "train")[0].audio
    assert source.name.endswith(".WAV.wav")
    assert phones_beside(source).is_file()


def pack(path):
    """Give a SPHERE file the header of one that is packed by shorten, as LDC's discs have it."""
    data = path.read_bytes()
    header = data[:1024]
    assert b"sample_coding -s3 pcm\n" in header
    packed = header.replace(
        b"sample_coding -s3 pcm\n", b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
    )
    path.write_bytes(packed.rstrip(b" ").ljust(1024)[:1024] + b"ajkg\x02" + data[1024:])


def test_what_is_packed_by_shorten_is_named_as_such(write_timit, tmp_path, capsys):
    corpus = write_timit()
    victim = next(path for path in sorted(corpus.rglob("SX37.WAV")) if "TRAIN" in str(path))
    pack(victim)
    where = ["--corpus", str(corpus), "--data", str(tmp_path / "data")]
    assert main(RECIPE, ["prepare", *where]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "1 of 18 recordings cannot be used" in told
    assert str(victim) in told
    assert "SPHERE compressed by shorten" in told
    assert "sph2pipe" in told


@pytest.mark.parametrize("missing", ["SX37.WAV", "SX37.PHN"])
def test_half_a_sentence_is_named(write_timit, missing):
    corpus = write_timit()
    next(corpus.glob(f"TRAIN/*/*/{missing}")).unlink()
    with pytest.raises(CorpusError, match="sx37") as caught:
        ids(corpus, "train")
    assert "TRAIN" in str(caught.value.where)


@pytest.mark.parametrize("row", ["0 800", "0 800 xx", "0 x sh", "0 800 sil"])
def test_a_broken_line_of_phones_is_named(write_timit, row):
    corpus = write_timit()
    path = next(corpus.glob("TRAIN/*/*/SX37.PHN"))
    path.write_text(f"0 800 h#\n{row}\n")
    with pytest.raises(CorpusError) as caught:
        ids(corpus, "train")
    assert f"{path}, line 2" in str(caught.value) or f"{path}:2" in str(caught.value)


def test_an_unknown_split_and_a_folder_without_timit_are_named(tmp_path):
    with pytest.raises(CorpusError, match="holdout"):
        ids(tmp_path, "holdout")
    with pytest.raises(CorpusError, match="TRAIN and TEST"):
        ids(tmp_path, "train")


def test_the_sample_is_whole_and_its_speakers_disjoint(shared_data):
    folder = shared_data("timit_sample")
    assert splits_of(folder) == ("train", "dev", "test")
    splits = {split: Reading().utterances(folder, split) for split in splits_of(folder)}
    speakers = [{u.speaker for u in found} for found in splits.values()]
    assert sum(map(len, splits.values())) == 128  # 16 speakers, 10 sentences less SA1 and SA2
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 16
    phones = {phone for found in splits.values() for u in found for phone in u.text.split()}
    assert phones <= set(PHONES48)
    assert all({s[0] for s in group} == {"f", "m"} for group in speakers)
    with pytest.raises(CorpusError, match="complete"):
        ids(folder, "test-complete")
    drawn = Reading(dev="train")
    apart = [{u.speaker for u in drawn.utterances(folder, s)} for s in splits]
    assert sum(map(len, apart)) == len(set.union(*apart)) == 16
