"""A language that was kept is the one that is read, and never another's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.decoding import BeamOptions, make_decoder
from asr.decoding.beam import kept
from asr.decoding.beam.language import Language
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer

PHONES = Tokenizer(["<blank>", "a", "b", "sil"], kind="phones")
LEXICON = "see a b\nsee(2) b a\nnew a a\nI b\nknew a a\n<sil> sil\n"


class Files:
    """A compact model and a lexicon, and the folder where languages are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kept"
        self.folder.mkdir()
        self.lm, self.lexicon = folder / "lm.compact", folder / "lexicon.txt"
        said = [[word.encode() for word in text.split()] for text in ("I see", "see new I", "new")]
        model = LanguageModel(estimate(said, KneserNeyConfig(3, discount_fallback=FALLBACK)))
        model.save_compact(self.lm)
        self.lexicon.write_text(LEXICON)

    def load(self, keep: bool = True, tokenizer: Tokenizer = PHONES) -> Language:
        return Language.load(tokenizer, self.lm, self.lexicon, keep=keep)

    @property
    def kept(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@pytest.fixture
def files(tmp_path, monkeypatch) -> Files:
    made = Files(tmp_path)
    monkeypatch.setattr(kept, "cache_folder", lambda: made.folder)
    return made


def check_same(found: Language, expected: Language) -> None:
    assert found.lexicon == expected.lexicon
    assert found.spoken == expected.spoken
    assert (found.units, found.says_words) == (expected.units, expected.says_words)
    for name in ("vocabulary", "order", "unknown", "begin", "end", "start", "rounded"):
        assert getattr(found.lm, name) == getattr(expected.lm, name)
    for weight in (0.0, 0.5):
        config = BeamOptions(beam_width=8, nbest=4, lm_weight=weight, word_score=0.3)
        for one, other in zip(flat(found.words(config)), flat(expected.words(config)), strict=True):
            assert type(one) is type(other)
            assert np.asarray(one).dtype == np.asarray(other).dtype
            assert np.array_equal(one, other)
        frames = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
        lengths = torch.tensor([12, 7])
        [one, other] = (
            make_decoder(config, PHONES, 0.01, language).decode(frames, lengths)
            for language in (found, expected)
        )
        assert one == other


def flat(record: tuple[object, ...]) -> list[object]:
    found: list[object] = []
    for value in record:
        found += flat(value) if isinstance(value, tuple) else [value]
    return found


def test_what_was_kept_is_what_is_read(files, monkeypatch):
    expected = files.load(keep=False)
    assert not files.kept
    check_same(files.load(), expected)
    assert len(files.kept) == 1
    monkeypatch.setattr(LanguageModel, "load", None)  # nothing is unpacked again
    check_same(files.load(), expected)


def test_it_is_saved_as_what_was_read(files, tmp_path):
    for name, language in (("first", files.load()), ("again", files.load())):
        (tmp_path / name).mkdir()
        language.save(tmp_path / name)
    first, again = (sorted((tmp_path / name).iterdir()) for name in ("first", "again"))
    assert [path.name for path in first] == [path.name for path in again]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_whatever_it_is_made_of_makes_another(files):
    files.load()
    files.lexicon.write_text(LEXICON + "bee b b\n")
    check_same(files.load(), files.load(keep=False))
    assert len(files.kept) == 2
    renamed = Tokenizer(["<blank>", "b", "a", "sil"], kind="phones")
    assert files.load(tokenizer=renamed).lexicon == files.load(False, renamed).lexicon
    assert len(files.kept) == 3


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: b"no"])
def test_what_is_damaged_is_made_again(files, damage):
    expected = files.load()
    [path] = files.kept
    good = path.read_bytes()
    path.write_bytes(damage(good))
    check_same(files.load(), expected)
    assert len(path.read_bytes()) == len(good)


def test_a_changed_byte_is_noticed(files):
    expected = files.load()
    [path] = files.kept
    data = bytearray(path.read_bytes())
    at = data.index(b"lm.log_probs.npy") + 250
    data[at] ^= 255
    path.write_bytes(data)
    check_same(files.load(), expected)


def test_where_nothing_can_be_kept_it_is_read(files, monkeypatch):
    expected = files.load(keep=False)
    files.folder.rmdir()  # cannot be written to any more
    check_same(files.load(), expected)
    monkeypatch.setattr(kept, "cache_folder", lambda: None)
    check_same(files.load(), expected)


def test_those_used_last_stay(files):
    for number in range(5):
        files.lexicon.write_text(f"{LEXICON}bee{number} b b\n")
        files.load()
        for age, path in enumerate(sorted(files.kept, key=os.path.getmtime, reverse=True)):
            os.utime(path, (1000 - age, 1000 - age))
    assert len(files.kept) == kept.MOST


def test_one_that_is_warned_of_is_warned_of_each_time(files, caplog):
    files.lexicon.write_text(LEXICON + "NEW a b\n")
    for _ in range(2):
        caplog.clear()
        files.load()
        assert "other case" in caplog.text
    assert not files.kept
