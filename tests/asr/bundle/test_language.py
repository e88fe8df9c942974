"""A bundle with a language model and a lexicon: as it went, whole, and used."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asr.bundle import load_bundle, save_bundle
from asr.decoding import BeamOptions, Phrase
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import read_lexicon
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.recognizer import Recognizer
from asr.types import BundleError

LM, LEXICON = "lm.arpa.gz", "lexicon.txt"
TEXT = ("ab ba", "ab cad", "dab", "cad ab dab", "bed")


@pytest.fixture
def path(bundle_of, tmp_path) -> Path:
    """A bundle with both."""
    bundle = bundle_of(name="beam", unk_score=-1.0)
    units = [[word.encode() for word in sentence.split()] for sentence in TEXT]
    lm = LanguageModel(estimate(units, KneserNeyConfig(2, discount_fallback=FALLBACK)))
    (tmp_path / "words").write_text("ab\ncad\nbed b e d\ndeed\n")
    lexicon = read_lexicon(tmp_path / "words", bundle.tokenizer)
    language = Language(bundle.tokenizer, lm, lexicon)
    save_bundle(replace(bundle, language=language), tmp_path / "b")
    return tmp_path / "b"


def edit(path: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((path / "config.json").read_text("utf-8"))
    change(config)
    (path / "config.json").write_text(json.dumps(config), "utf-8")


def sum_again(path: Path, name: str) -> None:
    digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
    edit(path, lambda config: config["checksums"].update({name: digest}))


def test_model_and_lexicon_come_back_and_decide(path, waveform_of):
    recognizer = Recognizer.load(path)
    language = recognizer.bundle.language
    assert set(language.lexicon.pronunciations) == {"ab", "cad", "bed", "deed"}
    assert language.lm.score_sentence(["ab", "cad"]).sum() > -3
    waveforms = [waveform_of(1, 1.5)]
    closed = BeamOptions(lm_weight=1.0)
    (transcript,) = recognizer.recognize(waveforms, recognizer.decoder(closed))
    assert set(transcript.text.split()) <= {"ab", "cad", "bed", "deed"}
    assert transcript.hypotheses[0].lm_score < 0
    (without,) = recognizer.recognize(waveforms, recognizer.decoder(replace(closed, lm_weight=0.0)))
    assert without.hypotheses[0].lm_score == 0
    (boosted,) = recognizer.recognize(waveforms, recognizer.decoder(closed, [Phrase("deed", 20.0)]))
    assert "deed" in boosted.text.split()


def test_saving_again_gives_the_same_files(path, tmp_path):
    save_bundle(load_bundle(path), tmp_path / "again")
    for name in (LM, LEXICON, "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (path / name).read_bytes()
    save_bundle(load_bundle(path), path)  # in its own place
    assert load_bundle(path).language is not None


def test_a_bundle_without_them_has_neither_file_nor_key(bundle_of, path):
    save_bundle(bundle_of(), path)
    assert sorted(entry.name for entry in path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokens.txt",
    ]
    assert "language" not in json.loads((path / "config.json").read_text())
    assert load_bundle(path).language is None


def test_a_plain_arpa_file_is_read_too(path):
    (path / "lm.arpa").write_bytes(gzip.decompress((path / LM).read_bytes()))
    (path / LM).unlink()
    edit(path, lambda config: config["checksums"].pop(LM))
    sum_again(path, "lm.arpa")
    assert load_bundle(path).language.lm.order == 2


def test_a_compact_model_stays_compact(path, tmp_path):
    LanguageModel.load(path / LM).save_compact(tmp_path / "lm.compact")
    bundle = load_bundle(path)
    compact = LanguageModel.load(tmp_path / "lm.compact")
    language = Language(bundle.tokenizer, compact, bundle.language.lexicon)
    save_bundle(replace(bundle, language=language), path)
    assert not (path / LM).exists()
    assert (path / "lm.compact").read_bytes() == (tmp_path / "lm.compact").read_bytes()
    assert load_bundle(path).language.lm.rounded


def test_two_language_models_are_refused(path):
    LanguageModel.load(path / LM).save_compact(path / "lm.compact")
    sum_again(path, "lm.compact")
    with pytest.raises(BundleError, match=r"two language models: lm.arpa.gz, lm.compact"):
        load_bundle(path)


def test_an_old_bundle_loads(path, bundle_of):
    """Saved before decoders had weights, and bundles language models."""
    save_bundle(bundle_of(), path)
    old = {"name": "beam", "beam_width": 9, "alternatives": 2, "token_min_log_prob": -7.0}
    edit(path, lambda config: config.update(decoder=old))
    assert load_bundle(path).decoder == BeamOptions(9, 2, -7.0)


@pytest.mark.parametrize("name", [LM, LEXICON])
def test_a_missing_file_is_named(path, name):
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"no {name}"):
        load_bundle(path)


@pytest.mark.parametrize("name", [LM, LEXICON])
def test_a_changed_file_is_named(path, name):
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}.*SHA-256"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LM, b"no model", "no ARPA file"),
        (LM, gzip.compress(b"\\data\\\nngram 1=0\n\nrubbish\n", mtime=0), "line 4"),
        (LEXICON, b"ab\nxyz\n", "line 2: the word 'xyz'"),
        (LEXICON, b"", "empty"),
    ],
)
def test_rubbish_with_an_honest_checksum_is_named(path, name, content, message):
    (path / name).write_bytes(content)
    sum_again(path, name)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(path)
    assert name in str(caught.value)


def test_a_file_that_nobody_saved_is_refused(path, bundle_of):
    for name in ("lm.arpa", LEXICON):
        save_bundle(bundle_of(), path)
        (path / name).write_text("ab\n")
        with pytest.raises(BundleError, match=f"{name}.*does not know"):
            load_bundle(path)
        (path / name).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("language"), "do not agree"),
        (lambda config: config.update(language=[]), "not an object"),
        (lambda config: config["language"].update(units="syllables"), "unknown units"),
        (lambda config: config["checksums"].update({"../x": "0"}), "no file of a bundle"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(path, change, message):
    edit(path, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(path)
