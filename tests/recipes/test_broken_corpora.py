"""Damaged corpora and manifests: one message that names the thing, and no utterance lost unsaid."""

import gzip
import json

import numpy as np
import pytest
import soundfile

from asr.types import AsrError, AudioError, CorpusError
from recipes.an4 import corpus as an4
from recipes.common.audio import load_samples
from recipes.common.manifests import Utterance, read_manifest, usable_cuts, write_manifest
from recipes.librispeech import corpus as librispeech
from recipes.timit import corpus as timit

SAMPLES = np.sin(np.arange(4800) / 9).astype(np.float32) / 10


@pytest.fixture
def openslr(tmp_path):
    """One chapter of two utterances; returns its folder."""
    chapter = tmp_path / "train-clean-5" / "84" / "121"
    chapter.mkdir(parents=True)
    for number in range(2):
        soundfile.write(chapter / f"84-121-000{number}.flac", SAMPLES, 16_000)
    (chapter / "84-121.trans.txt").write_text("84-121-0000 GO\n84-121-0001 STOP\n")
    return chapter


LIBRISPEECH_DAMAGE = {
    "audio gone": (lambda c: (c / "84-121-0001.flac").unlink(), "84-121-0001"),
    "audio cut": (lambda c: (c / "84-121-0001.flac").write_bytes(b"fLaC"), r"84-121-0001\.flac"),
    "not audio": (lambda c: (c / "84-121-0001.flac").write_bytes(b"x" * 99), r"84-121-0001\.flac"),
    "text gone": (lambda c: (c / "84-121.trans.txt").unlink(), "84-121-0000"),
    "line gone": (
        lambda c: (c / "84-121.trans.txt").write_text("84-121-0000 GO\n"),
        "84-121-0001",
    ),
    "line empty": (
        lambda c: (c / "84-121.trans.txt").write_text("84-121-0000 GO\n84-121-0001\n"),
        "84-121-0001",
    ),
    "not text": (
        lambda c: (c / "84-121.trans.txt").write_bytes(b"84-121-0000 \xff\n"),
        r"84-121\.trans\.txt",
    ),
}


@pytest.mark.parametrize("what", LIBRISPEECH_DAMAGE)
def test_librispeech_loses_no_utterance_unsaid(openslr, what):
    damage, named = LIBRISPEECH_DAMAGE[what]
    corpus = openslr.parents[2]
    assert len(usable_cuts(librispeech.utterances(corpus, "train"))) == 2
    damage(openslr)
    with pytest.raises(AsrError, match=named):
        usable_cuts(librispeech.utterances(corpus, "train"))


@pytest.fixture
def ldc(tmp_path):
    """One speaker of two sentences; returns the folder."""
    speaker = tmp_path / "TRAIN" / "DR1" / "FCJF0"
    speaker.mkdir(parents=True)
    for name in ("SI100", "SX37"):
        (speaker / f"{name}.PHN").write_text("0 1000 h#\n1000 4800 sh\n")
        soundfile.write(speaker / f"{name}.WAV", SAMPLES, 16_000, format="NIST")
    return speaker


TIMIT_DAMAGE = {
    "audio gone": lambda s: (s / "SX37.WAV").unlink(),
    "phones gone": lambda s: (s / "SX37.PHN").unlink(),
    "no phones": lambda s: (s / "SX37.PHN").write_text("\n"),
    "not ASCII": lambda s: (s / "SX37.PHN").write_bytes(b"0 1 \xff\n"),
    "not numbers": lambda s: (s / "SX37.PHN").write_text("a b sh\n"),
    "unknown phone": lambda s: (s / "SX37.PHN").write_text("0 1 zz\n"),
}


@pytest.mark.parametrize("what", TIMIT_DAMAGE)
def test_timit_loses_no_sentence_unsaid(ldc, what):
    corpus = ldc.parents[2]
    assert len(timit.utterances(corpus, "train")) == 2
    TIMIT_DAMAGE[what](ldc)
    with pytest.raises(CorpusError, match=r"(?i)sx37") as caught:
        timit.utterances(corpus, "train")
    assert caught.value.remedy


@pytest.fixture
def census(tmp_path):
    """AN4 with two speakers; returns the folder."""
    (tmp_path / "etc").mkdir()
    for speaker in ("fabc", "mdef"):
        folder = tmp_path / "wav" / "an4_clstk" / speaker
        folder.mkdir(parents=True)
        soundfile.write(folder / f"{speaker}-b.wav", SAMPLES, 16_000)
    ids = "an4_clstk/fabc/fabc-b\nan4_clstk/mdef/mdef-b\n"
    (tmp_path / "etc" / "an4_train.fileids").write_text(ids)
    texts = "<s> GO </s> (fabc-b)\n<s> STOP </s> (mdef-b)\n"
    (tmp_path / "etc" / "an4_train.transcription").write_text(texts)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("an4_train.fileids", b"\n", "no utterances"),
        ("an4_train.transcription", b"<s> CAF\xc9 </s> (fabc-b)\n", "UTF-8"),
        ("an4_train.transcription", b"GO (fabc-b)\nSTOP (fabc-b)\nA (mdef-b)\n", "row 2"),
    ],
)
def test_an4s_damaged_lists_are_named(census, name, content, said):
    (census / "etc" / name).write_bytes(content)
    with pytest.raises(CorpusError, match=said) as caught:
        an4.utterances(census, "train")
    assert name in str(caught.value)


def test_an4s_lists_may_have_a_byte_order_mark_and_any_line_ends(census):
    path = census / "etc" / "an4_train.transcription"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    found = [u.text for split in ("train", "dev") for u in an4.utterances(census, split)]
    assert sorted(found) == ["GO", "STOP"]


@pytest.mark.parametrize("data", [b"", b"odd"])
def test_raw_audio_that_is_no_samples_is_refused_at_once(tmp_path, data):
    (tmp_path / "a.raw").write_bytes(data)
    with pytest.raises(CorpusError, match=r"a\.raw"):
        write_manifest(tmp_path / "m.jsonl.gz", [Utterance("a", tmp_path / "a.raw", "GO", "x")])


@pytest.fixture
def manifest(tmp_path):
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16_000)
    path = tmp_path / "new" / "folder" / "m.jsonl.gz"
    write_manifest(path, [Utterance("a", tmp_path / "a.wav", "GO", "x")])
    return path


def test_a_manifest_with_any_byte_flipped_is_named_or_still_right(manifest):
    whole = manifest.read_bytes()
    messages = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        manifest.write_bytes(bytes(damaged))
        try:
            assert read_manifest(manifest)[0].supervisions[0].text == "GO"
        except CorpusError as error:
            messages.append(str(error))
    assert messages
    assert all(str(manifest) in message for message in messages)


def places(value, above=()):
    """Where each value of a row stands."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*above, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*above, key))


ODD = [None, "", -1, 0, 17, 1e9, float("nan"), "x", "\ud800", [], {}, [1], True, "left out"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_row_with_an_odd_value_anywhere_is_refused_or_serves(manifest, odd):
    """What is read has an id and texts that can be written, and audio as long as it says."""
    whole = json.loads(gzip.decompress(manifest.read_bytes()))
    for *above, key in places(whole):
        row = json.loads(json.dumps(whole))
        around = row
        for step in above:
            around = around[step]
        around[key] = odd
        if odd == "left out":
            del around[key]
        manifest.write_bytes(gzip.compress(json.dumps(row).encode()))
        try:
            (cut,) = read_manifest(manifest)
            samples = load_samples(cut).samples
        except (CorpusError, AudioError):
            continue
        assert len(samples) == pytest.approx(16_000 * cut.duration, abs=1)
        told = cut.supervisions[0]
        assert all(text.encode() or not text for text in (cut.id, told.text, told.speaker or ""))


@pytest.mark.parametrize(
    "change", [{"recording": None}, {"supervisions": []}, "no sources", "text a number"]
)
def test_a_row_without_its_parts_is_named(manifest, change):
    row = json.loads(gzip.decompress(manifest.read_bytes()))
    if change == "no sources":
        row["recording"]["sources"] = []
    elif change == "text a number":
        row["supervisions"][0]["text"] = 5
    else:
        row.update(change)
    manifest.write_bytes(gzip.compress(json.dumps(row).encode()))
    with pytest.raises(CorpusError, match="prepare"):
        read_manifest(manifest)
