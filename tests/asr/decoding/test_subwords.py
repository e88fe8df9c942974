"""Every decoder on subwords: marks begin words, and a text is given once, as its best spelling."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, GreedyOptions, Phrase, PrefixOptions, make_decoder
from asr.decoding.align import align
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import read_lexicon, spell, spell_words
from asr.decoding.prefix import labelling_log_prob
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.subwords import MARK
from asr.tokens import Tokenizer
from asr.types import DecodingError, LanguageModelError

# "a" and "ab" are spelled ▁a and ▁a b; "b" is spelled ▁ b; other spellings are never canonical.
TOKENIZER = Tokenizer(["<blank>", MARK, "▁a", "b", "a"], "subwords", [-1.0, -1.0, -1.0, -1.0])
GAP = 1
ALL = BeamOptions(beam_width=1024, nbest=1024, token_min_log_prob=-math.inf, beam_threshold=None)
EACH = [GreedyOptions(), BeamOptions(beam_width=8, nbest=3), PrefixOptions(nbest=3)]


def lm_of(*sentences):
    units = [[unit.encode() for unit in sentence.split()] for sentence in sentences]
    return LanguageModel(estimate(units, KneserNeyConfig(3, discount_fallback=FALLBACK)))


WORDS = lm_of("a", "a ab", "b a", "ab ab a", "b ab", "a b")
PIECES = lm_of("▁a", "▁a ▁a b", "▁ b ▁a", "▁ b b ▁ b a", "▁a a")
LEXICON = spell_words(["a", "ab", "bb"], TOKENIZER)
LANGUAGES = [
    None,
    Language(TOKENIZER, WORDS),
    Language(TOKENIZER, WORDS, LEXICON),
    Language(TOKENIZER, None, LEXICON),
    Language(TOKENIZER, PIECES, units="tokens"),
    Language(TOKENIZER, PIECES, LEXICON, units="tokens"),
]
PHRASES = st.lists(
    st.builds(
        Phrase,
        st.sampled_from(["a", "ab", "a ab", "ab a", "b", "b a", "a a"]),
        st.sampled_from([2.0, 0.5, -1.5]),
    ),
    max_size=4,
)


def words_of(labels):
    """The tokens of each word, without separators."""
    words = [[]]
    for k in labels:
        if k == GAP or TOKENIZER.starts_word(k):
            words.append([])
        if k != GAP:
            words[-1].append(k)
    return [tuple(word) for word in words if word]


def expected_parts(labels, config, language, phrases):
    """The language model's score and the bonus of a labelling; None: the lexicon refuses it."""
    words = words_of(labels)
    texts = [TOKENIZER.decode(word) for word in words]
    closed = None if language is None or not uses_words(language, config) else language._closed
    unknown = [closed is not None and word not in closed.spellings(TOKENIZER) for word in words]
    if any(unknown) and config.unk_score is None:
        return None
    lm = 0.0
    if language is not None and language.lm is not None and config.lm_weight:
        if language.units == "words":
            units = ["<unk>" if u else text for u, text in zip(unknown, texts, strict=True)]
        else:
            marked = [word if TOKENIZER.starts_word(word[0]) else (GAP, *word) for word in words]
            units = [TOKENIZER.tokens[k] for word in marked for k in word]
        lm = config.lm_weight * math.log(10) * float(language.lm.score_sentence(units).sum())
    bonus = config.token_score * len(labels) + config.word_score * len(words)
    bonus += sum(unknown) * (config.unk_score or 0.0)
    for phrase in phrases:
        parts = [spell(word, TOKENIZER) for word in phrase.text.split()]
        places = range(len(words) - len(parts) + 1)
        count = sum(words[i : i + len(parts)] == parts for i in places)
        bonus += phrase.weight * (sum(map(len, parts)) + len(parts) - 1) * count
    return lm, bonus


def uses_words(language, config):
    return language.lexicon is not None or (language.units == "words" and config.lm_weight > 0)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 4),
    lm_weight=st.sampled_from([0.0, 0.3, 2.5]),
    word_score=st.sampled_from([0.0, 1.5, -0.7]),
    token_score=st.sampled_from([0.0, 0.4, -0.9]),
    unk_score=st.sampled_from([None, -2.5]),
    language=st.sampled_from(LANGUAGES),
    phrases=PHRASES,
)
@settings(max_examples=200, deadline=None)
def test_a_wide_beam_is_the_enumeration_of_all_labellings(
    log_probs_of, every_text, seed, frames, language, phrases, **options
):
    config = replace(ALL, **options)
    if config.unk_score is None and language is not None and uses_words(language, config):
        known = set(language._closed.pronunciations)
        phrases = [p for p in phrases if known.issuperset(p.text.split())]
    log_probs = log_probs_of(seed, frames, 5)
    expected: dict[str, tuple[float, tuple[float, ...]]] = {}
    for labels, acoustic in every_text(log_probs.numpy(), GAP).items():
        parts = expected_parts(labels, config, language, phrases)
        if parts is not None:
            text, item = TOKENIZER.decode(labels), (acoustic + sum(parts), (acoustic, *parts))
            expected[text] = max(expected.get(text, item), item)
    decoder = make_decoder(config, TOKENIZER, 0.02, language, phrases)
    (found,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    assert [h.text for h in found] == list(dict.fromkeys(h.text for h in found))
    assert {h.text for h in found} == set(expected)
    for h in found:
        assert h.score == pytest.approx(expected[h.text][0], abs=1e-5)
        parts = (h.acoustic_score, h.lm_score, h.bonus_score)
        assert sum(parts) == pytest.approx(h.score, abs=1e-5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("config", EACH, ids=lambda config: config.name)
@given(seed=st.integers(0, 10**6), frames=st.integers(0, 20), marks=st.floats(0.0, 3.0))
@settings(max_examples=50, deadline=None)
def test_words_are_those_of_the_text_with_times_in_order(log_probs_of, config, seed, frames, marks):
    log_probs = log_probs_of(seed, frames, 5, 2.0)
    log_probs[:, GAP] += marks
    log_probs = log_probs.log_softmax(1)
    (found,) = make_decoder(config, TOKENIZER, 0.02).decode(log_probs[None], torch.tensor([frames]))
    texts = [h.text for h in found]
    assert len(set(texts)) == len(texts)
    for h in found:
        assert [word.text for word in h.words] == h.text.split()
        assert h.text == " ".join(h.text.split())
        edges = [edge for word in h.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert TOKENIZER.decode(TOKENIZER.tokens.index(t.token) for t in h.tokens) == h.text
        if config.name == "prefix":
            labels = [TOKENIZER.tokens.index(t.token) for t in h.tokens]
            exact = labelling_log_prob(log_probs.numpy(), labels, separator=GAP)
            assert h.score == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("config", EACH, ids=lambda config: config.name)
@pytest.mark.parametrize("path", [[1], [1, 0, 1], [0, 1, 1]])
def test_nothing_but_marks_is_no_text(config, path):
    log_probs = torch.full((1, len(path), 5), -20.0)
    log_probs[0, range(len(path)), path] = 0.0
    decoder = make_decoder(config, TOKENIZER, 0.02)
    ((found, *_),) = decoder.decode(log_probs.log_softmax(2), torch.tensor([len(path)]))
    assert (found.text, found.words) == ("", ())


def spoken(*path):
    log_probs = torch.full((len(path), 5), -20.0)
    log_probs[range(len(path)), list(path)] = 0.0
    return log_probs.log_softmax(1)


def test_a_text_is_aligned_by_its_canonical_spelling():
    found = align(spoken(0, 2, 0, 3, 0, 1, 3, 0).numpy(), "ab b", TOKENIZER, 1.0)
    assert [token.token for token in found.tokens] == ["▁a", "b", "▁", "b"]
    assert [word.text for word in found.words] == ["ab", "b"]
    assert found.words[0].end <= found.words[1].start


def test_a_language_model_of_words_chooses_among_words_of_subwords():
    language = Language(TOKENIZER, lm_of("ab a", "ab a", "a b"))
    log_probs = torch.full((4, 5), -9.0)
    log_probs[0, 2] = log_probs[3, 2] = 0.0  # ▁a, then b or blank, then ▁a
    log_probs[1, 3] = log_probs[1, 0] = log_probs[2, 0] = -0.7
    decoder = make_decoder(BeamOptions(lm_weight=1.0), TOKENIZER, 1.0, language)
    ((best, *_),) = decoder.decode(log_probs.log_softmax(1)[None], torch.tensor([4]))
    assert best.text == "ab a"
    assert [word.text for word in best.words] == ["ab", "a"]


def test_phrases_match_whole_words_alone():
    log_probs = spoken(2, 3, 0, 0)  # ab
    for phrase, gains in (("ab", True), ("a", False), ("b", False)):
        decoder = make_decoder(BeamOptions(), TOKENIZER, 1.0, None, [Phrase(phrase, 3.0)])
        ((best, *_),) = decoder.decode(log_probs[None], torch.tensor([4]))
        assert best.text == "ab"
        assert (best.bonus_score > 0) == gains
    with pytest.raises(DecodingError, match="'c'"):
        make_decoder(BeamOptions(), TOKENIZER, 1.0, None, [Phrase("c")])


def test_a_lexicon_is_spelled_with_marks_or_by_its_words(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ab\nb ▁ b\na ▁a\nother ▁ b a\n", "utf-8")
    assert read_lexicon(path, TOKENIZER).pronunciations == {
        "ab": ((2, 3),),
        "b": ((1, 3),),
        "a": ((2,),),
        "other": ((1, 3, 4),),
    }


@pytest.mark.parametrize(
    ("line", "named"),
    [("x ▁a ▁a", "'▁a'"), ("x ▁a ▁ b", "'▁'"), ("x", "'x'"), ("x ▁", "no tokens")],
)
def test_words_that_subwords_cannot_spell_are_refused_with_their_line(tmp_path, line, named):
    path = tmp_path / "lexicon.txt"
    path.write_text(f"a\n{line}\n", "utf-8")
    with pytest.raises(LanguageModelError, match=named) as caught:
        read_lexicon(path, TOKENIZER)
    assert "line 2" in str(caught.value)
