"""Texts of every corpus are read alike, whoever's editor wrote them."""

import os
import unicodedata

import numpy as np
import pytest
import soundfile

from asr.types import CorpusError
from recipes.an4 import corpus as an4
from recipes.common.texts import invisible, normalise
from recipes.librispeech import corpus as librispeech
from recipes.timit import corpus as timit

SAMPLES = np.sin(np.arange(4800) / 9).astype(np.float32) / 10

# (written, read): Unicode's own names say which characters are spaces and which are not seen.
SPELLINGS = [
    ("E\u0301", "\u00c9"),  # combining acute accent
    ("\u1100\u1161", "\uac00"),  # Hangul jamo
    *(
        (f"A{space}{space}B", "A B")
        for space in "\t\u00a0\u2003\u2007\u202f\u3000\u2028\x0b\x1c\x85"
    ),
    *(
        (f" {mark}A{mark}B ", "AB")
        for mark in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e\x00"
    ),
    ("\u2764\ufe0f", "\u2764"),  # variation selector
    ("e\u200d\u0301", "\u00e9"),  # a joiner between a letter and its accent
    ("\u0663\u06dd", "\u0663\u06dd"),  # a format character that is drawn
]


@pytest.mark.parametrize(("written", "read"), SPELLINGS)
def test_one_text_has_one_spelling(written, read):
    assert normalise(written) == read
    assert normalise(read) == read
    assert invisible(read) == ""


def test_every_character_that_stays_is_seen_or_a_single_space():
    kept = {chr(code) for code in range(0x110000) if normalise(f"a{chr(code)}a") != "aa"}
    assert not {c for c in kept if unicodedata.category(c) == "Cc" and not c.isspace()}
    assert not {c for c in kept if "ZERO WIDTH" in unicodedata.name(c, "")}
    assert all(chr(code) in kept for code in range(0x20, 0x7F))


def openslr(root, transcript):
    chapter = root / "train-clean-5" / "84" / "121"
    chapter.mkdir(parents=True)
    for number in range(2):
        soundfile.write(chapter / f"84-121-000{number}.flac", SAMPLES, 16_000)
    (chapter / "84-121.trans.txt").write_bytes(transcript)
    return chapter


EDITORS = {
    "plain": b"84-121-0000 GO ON\n84-121-0001 STOP\n",
    "byte-order mark": b"\xef\xbb\xbf84-121-0000 GO ON\n84-121-0001 STOP",
    "blank lines": b"\n84-121-0000 GO ON\n \t\n\xc2\xa0\n84-121-0001 STOP\n\n",
    "carriage returns": b"84-121-0000 GO ON\r\n84-121-0001 STOP\r\n",
    "tabs": b"84-121-0000\tGO\tON\n84-121-0001 \t STOP \n",
    "no-break spaces": b"84-121-0000\xc2\xa0GO\xc2\xa0ON\n84-121-0001 STOP\xc2\xa0\n",
    "joined files": b"84-121-0000 GO ON\n\xef\xbb\xbf84-121-0001 STOP\n",
    "zero-width spaces": b"84-121-0000 GO\xe2\x80\x8b ON\n84-121-0001 \xe2\x80\x8bSTOP\n",
    "other line breaks": b"84-121-0000 GO\xe2\x80\xa8ON\n84-121-0001 STOP\n",
}


@pytest.mark.parametrize("editor", EDITORS)
def test_librispeech_reads_what_any_editor_wrote(tmp_path, editor):
    openslr(tmp_path, EDITORS[editor])
    found = librispeech.utterances(tmp_path, "train")
    assert [u.text for u in found] == ["GO ON", "STOP"]
    assert [u.id for u in found] == ["84-121-0000", "84-121-0001"]


@pytest.mark.parametrize(
    ("transcript", "line", "said"),
    [
        (b"84-121-0000 GO\n\n84-121-0001 \xc2\xa0\n", 3, "no text for 84-121-0001"),
        (b"84-121-0000 GO\n84-121-0001 A\n84-121-0001 B\n", 3, "84-121-0001"),
        (b"84-121-0000 GO\n84-121-0001 A\n84-121-0002 B\n", 3, "no audio for 1 utterances"),
        (b"84-121-0000 GO\n84-121-0001 \xff\n", 2, "UTF-8"),
    ],
)
def test_a_faulty_line_of_librispeech_is_named(tmp_path, transcript, line, said):
    openslr(tmp_path, transcript)
    with pytest.raises(CorpusError, match=said) as caught:
        librispeech.utterances(tmp_path, "train")
    assert f"84-121.trans.txt, line {line}" in str(caught.value)


def census(root, edit=lambda text: text):
    (root / "etc").mkdir(parents=True)
    ids, texts = "fabc/fabc-b\nmdef/mdef-b\n", "<s> GO ON </s> (fabc-b)\n<s> STOP </s> (mdef-b)\n"
    for speaker in ("fabc", "mdef"):
        (root / "wav" / speaker).mkdir(parents=True)
        soundfile.write(root / "wav" / speaker / f"{speaker}-b.wav", SAMPLES, 16_000)
    (root / "etc" / "an4_train.fileids").write_text(edit(ids), "utf-8", newline="")
    (root / "etc" / "an4_train.transcription").write_text(edit(texts), "utf-8", newline="")


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n\r\n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace("\n", "\u00a0\n\u200b\n"),
        lambda text: text.replace("> ", "> \u200b").replace(")\n", ")\u200b\n"),
    ],
)
def test_an4_reads_what_any_editor_wrote(tmp_path, edit):
    census(tmp_path, edit)
    found = [u for split in ("train", "dev") for u in an4.utterances(tmp_path, split)]
    assert sorted((u.id, u.text) for u in found) == [("fabc-b", "GO ON"), ("mdef-b", "STOP")]


def ldc(root, phones=b"0 1000 h#\n1000 4800 sh\n"):
    speaker = root / "TRAIN" / "DR1" / "FCJF0"
    speaker.mkdir(parents=True)
    (speaker / "SX37.PHN").write_bytes(phones)
    soundfile.write(speaker / "SX37.WAV", SAMPLES, 16_000, format="NIST")


@pytest.mark.parametrize(
    "phones",
    [
        b"\xef\xbb\xbf0 1000 h#\r\n\r\n1000 4800 sh\r\n",
        b"0\t1000\th#\n\xc2\xa0\n1000\xc2\xa04800\xc2\xa0sh\n",
        b"0 1000 h#\xe2\x80\x8b\n1000 4800 sh",
    ],
)
def test_timit_reads_what_any_editor_wrote(tmp_path, phones):
    ldc(tmp_path, phones)
    assert [u.text for u in timit.utterances(tmp_path, "train")] == ["sil sh"]


@pytest.mark.parametrize("phones", [b"0 1 h#\n\n1 2\n", b"0 1 h#\n\n1 2 zz\n", b"0 1 h#\n\nx 2 sh"])
def test_a_faulty_line_of_timit_is_named(tmp_path, phones):
    ldc(tmp_path, phones)
    with pytest.raises(CorpusError) as caught:
        timit.utterances(tmp_path, "train")
    assert "SX37.PHN, line 3" in str(caught.value)


@pytest.mark.parametrize("level", ["train-clean-5", "train-clean-5/84", "train-clean-5/84/121"])
def test_librispeech_follows_links_to_folders(tmp_path, level):
    corpus = tmp_path / "corpus"
    openslr(corpus, EDITORS["plain"])
    away = tmp_path / "away"
    (corpus / level).rename(away)
    (corpus / level).symlink_to(away)
    assert len(librispeech.utterances(corpus, "train")) == 2
    loop = away / "loop"
    loop.symlink_to(away)
    assert len(librispeech.utterances(corpus, "train")) == 2


@pytest.mark.parametrize("level", ["TRAIN", "TRAIN/DR1", "TRAIN/DR1/FCJF0"])
def test_timit_follows_links_to_folders(tmp_path, level):
    corpus = tmp_path / "corpus"
    ldc(corpus)
    away = tmp_path / "away"
    (corpus / level).rename(away)
    (corpus / level).symlink_to(away)
    assert len(timit.utterances(corpus, "train")) == 1


def test_an4_follows_links_to_folders(tmp_path):
    corpus = tmp_path / "corpus"
    census(corpus)
    away = tmp_path / "away"
    (corpus / "wav" / "fabc").rename(away)
    (corpus / "wav" / "fabc").symlink_to(away)
    assert len(an4.utterances(corpus, "train") + an4.utterances(corpus, "dev")) == 2


def test_apples_side_files_are_no_transcripts(tmp_path):
    chapter = openslr(tmp_path, EDITORS["plain"])
    (chapter / "._84-121.trans.txt").write_bytes(b"\x00\x05\x16\x07")
    (chapter / "._84-121-0000.flac").write_bytes(b"\x00\x05\x16\x07")
    assert len(librispeech.utterances(tmp_path, "train")) == 2


def test_an4_finds_names_that_a_disk_spells_otherwise(tmp_path):
    census(tmp_path, lambda text: text.replace("fabc", "f\u00e9"))
    folder = tmp_path / "wav" / "fe\u0301"
    folder.mkdir()
    soundfile.write(os.fspath(folder / "fe\u0301-b.wav"), SAMPLES, 16_000)
    found = [u for split in ("train", "dev") for u in an4.utterances(tmp_path, split)]
    assert len(found) == 2
