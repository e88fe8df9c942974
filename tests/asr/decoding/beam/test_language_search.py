"""Beam search with language models, lexicons, phrases and bonuses against all labellings."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, DecoderOptions, GreedyOptions, Phrase, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import spell_words
from asr.decoding.prefix import labelling_log_prob
from asr.lm.arpa import write_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import DecodingError

PEER = "flashlight-text is not installed: the extra peers has it for Python up to 3.12"
LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])
PHONES = Tokenizer(["<blank>", "a", "b", "c"], kind="phones")
EXHAUSTIVE = BeamOptions(
    beam_width=1024,
    nbest=1024,
    token_min_log_prob=-math.inf,
    beam_threshold=None,
)


def lm_of(*sentences: str, order: int = 3) -> LanguageModel:
    units = [[unit.encode() for unit in sentence.split()] for sentence in sentences]
    return LanguageModel(estimate(units, KneserNeyConfig(order, discount_fallback=FALLBACK)))


WORDS = lm_of("a", "a ab", "ba a", "ab ab a", "b ba ab", "a ba", "ab b")
CHARACTERS = lm_of("a", "a <space> a b", "b a <space> a", "a b <space> a b", "b b")
PHONE_LM = lm_of("a b c", "a c", "b a c a", "c c a", order=2)
LEXICON = spell_words(["a", "ab", "bb", "bab"], LETTERS)  # bb and bab are new to the model

options = st.fixed_dictionaries(
    {
        "lm_weight": st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        "word_score": st.sampled_from([0.0, 1.5, -0.7]),
        "token_score": st.sampled_from([0.0, 0.4, -0.9]),
        "unk_score": st.sampled_from([None, 0.0, -2.5]),
    }
)
weights = st.sampled_from([2.0, 0.5, -1.5])
languages = st.sampled_from(
    [
        None,
        Language(LETTERS, WORDS),
        Language(LETTERS, WORDS, LEXICON),
        Language(LETTERS, None, LEXICON),
        Language(LETTERS, CHARACTERS, units="tokens"),
        Language(LETTERS, CHARACTERS, LEXICON, units="tokens"),
    ]
)


def known_words(language: Language | None, config: DecoderOptions) -> set[str] | None:
    """The words that are not unknown; None where nothing tells."""
    if language is None:
        return None
    if language.lexicon is not None:
        return set(language.lexicon.pronunciations)
    if language.units == "words" and config.lm_weight:
        return set(language.lm.vocabulary)
    return None


def expected_parts(text, config, language, phrases, tokenizer):
    """The language model's score and the bonus of a text by their definitions; None: refused."""
    words = text.split()
    known = known_words(language, config)
    unknown = [word for word in words if known is not None and word not in known]
    if unknown and config.unk_score is None:
        return None
    separated = tokenizer.kind == "characters"
    lm = 0.0
    if language is not None and language.lm is not None and config.lm_weight:
        if language.units == "words":
            units = ["<unk>" if word in unknown else word for word in words]
        else:
            units = ["<space>" if c == " " else c for c in text] if separated else words
        lm = config.lm_weight * math.log(10) * float(language.lm.score_sentence(units).sum())
    tokens = len(text) if separated else len(words)
    bonus = config.token_score * tokens + (config.word_score * len(words) if separated else 0.0)
    bonus += len(unknown) * (config.unk_score or 0.0)
    for phrase in phrases:
        parts = phrase.text.split()
        places = range(len(words) - len(parts) + 1)
        count = sum(words[i : i + len(parts)] == parts for i in places)
        spelled = len(" ".join(parts)) if separated else len(parts)
        bonus += phrase.weight * spelled * count
    return lm, bonus


def check_exhaustive(log_probs, every_text, config, language, phrases, tokenizer):
    acoustic = every_text(log_probs.numpy(), tokenizer.word_separator)
    expected = {}
    for labels, score in acoustic.items():
        text = tokenizer.decode(labels)
        parts = expected_parts(text, config, language, phrases, tokenizer)
        if parts is not None:
            expected[text] = (score, *parts)
    decoder = make_decoder(config, tokenizer, 0.02, language, phrases)
    (found,) = decoder.decode(log_probs[None], torch.tensor([len(log_probs)]))
    assert {h.text for h in found} == set(expected)
    assert len(found) == len(expected)
    for h in found:
        parts = (h.acoustic_score, h.lm_score, h.bonus_score)
        assert parts == pytest.approx(expected[h.text], abs=1e-5)
        assert h.score == pytest.approx(sum(expected[h.text]), abs=1e-5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 12),
    width=st.integers(1, 3),
    options=options,
    language=languages,
    phrases=st.lists(st.builds(Phrase, st.sampled_from(["a", "ab", "a ab"]), weights), max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_a_narrow_beam_finds_nothing_worse_than_the_best_path(
    log_probs_of, seed, frames, width, options, language, phrases
):
    """Whatever a language model thinks of its beginning."""
    log_probs = log_probs_of(seed, frames, 4)
    config = BeamOptions(beam_width=width, nbest=width, **options)
    (best_path,) = make_decoder(GreedyOptions(), LETTERS, 0.02).decode(
        log_probs[None], torch.tensor([frames])
    )[0]
    known = known_words(language, config)
    if config.unk_score is None and known is not None:
        phrases = [p for p in phrases if known.issuperset(p.text.split())]
    parts = expected_parts(best_path.text, config, language, phrases, LETTERS)
    if parts is None:
        return
    decoder = make_decoder(config, LETTERS, 0.02, language, phrases)
    (found,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    bar = best_path.acoustic_score + sum(parts)
    assert found[0].score >= bar - 1e-5
    texts = [h.text for h in found]
    assert len(set(texts)) == len(texts) <= width
    assert best_path.text in texts or all(h.score >= bar - 1e-5 for h in found)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 5),
    options=options,
    language=languages,
    phrases=st.lists(
        st.builds(Phrase, st.sampled_from(["a", "ab", "a ab", "ab a", "b", "a a"]), weights),
        max_size=4,
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_wide_beam_is_the_enumeration_of_all_labellings(
    log_probs_of, every_text, seed, frames, options, language, phrases
):
    config = replace(EXHAUSTIVE, **options)
    known = known_words(language, config)
    if config.unk_score is None and known is not None:
        phrases = [p for p in phrases if known.issuperset(p.text.split())]
    log_probs = log_probs_of(seed, frames, 4)
    check_exhaustive(log_probs, every_text, config, language, phrases, LETTERS)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 5),
    lm_weight=st.sampled_from([0.0, 0.7]),
    token_score=st.sampled_from([0.0, 0.6]),
    phrases=st.lists(
        st.builds(Phrase, st.sampled_from(["a", "a b", "b a", "a a", "c"]), weights), max_size=4
    ),
)
@settings(max_examples=60, deadline=None)
def test_phones_need_no_words(
    log_probs_of, every_text, seed, frames, lm_weight, token_score, phrases
):
    config = replace(EXHAUSTIVE, lm_weight=lm_weight, token_score=token_score)
    language = Language(PHONES, PHONE_LM, units="tokens")
    log_probs = log_probs_of(seed, frames, 4)
    check_exhaustive(log_probs, every_text, config, language, phrases, PHONES)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 40),
    width=st.integers(1, 6),
    language=languages,
    unk_score=st.sampled_from([None, -1.0]),
)
@settings(max_examples=100, deadline=None)
def test_a_narrow_beam_keeps_to_the_lexicon_and_claims_no_more_than_there_is(
    log_probs_of, seed, frames, width, language, unk_score
):
    config = BeamOptions(beam_width=width, nbest=width, unk_score=unk_score)
    log_probs = log_probs_of(seed, frames, 4)
    decoder = make_decoder(config, LETTERS, 0.02, language)
    (found,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    assert found
    for h in found:
        lm, bonus = expected_parts(h.text, config, language, (), LETTERS)
        assert (h.lm_score, h.bonus_score) == pytest.approx((lm, bonus), abs=1e-5)
        labels = LETTERS.encode(h.text)
        assert h.acoustic_score <= labelling_log_prob(log_probs.numpy(), labels, None, 1) + 1e-5


def test_where_no_word_is_possible_the_utterance_is_named():
    log_probs = torch.full((2, 3, 4), -math.inf)
    log_probs[0, :, 0] = 0.0
    log_probs[1, :, 3] = 0.0  # "b", which is no word
    decoder = make_decoder(BeamOptions(), LETTERS, 0.02, Language(LETTERS, None, LEXICON))
    with pytest.raises(DecodingError, match=r"utterance 1 .*no words of the lexicon"):
        decoder.decode(log_probs, torch.tensor([3, 3]))


def test_a_language_model_decides_what_the_sound_leaves_open():
    log_probs = torch.tensor([[0.02, 0.02, 0.48, 0.48]]).log()[None]
    language = Language(LETTERS, lm_of("b", "b", "b a", "b b"))
    said = [
        make_decoder(BeamOptions(lm_weight=w), LETTERS, 0.02, language)
        .decode(log_probs, torch.tensor([1]))[0][0]
        .text
        for w in (0.0, 1.0)
    ]
    assert said == ["a", "b"]


def test_a_phrase_brings_up_what_was_too_far_behind():
    rng = np.random.default_rng(0)
    log_probs = torch.tensor(rng.normal(0, 1, (1, 12, 4))).float()
    log_probs[0, :, 0] += 1.0
    log_probs = log_probs.log_softmax(2)
    plain = make_decoder(BeamOptions(), LETTERS, 0.02)
    config = BeamOptions(beam_width=4)
    boosted = make_decoder(config, LETTERS, 0.02, None, [Phrase("bab ab", 6.0)])
    lengths = torch.tensor([12])
    assert "bab ab" not in plain.decode(log_probs, lengths)[0][0].text
    assert "bab ab" in boosted.decode(log_probs, lengths)[0][0].text


@pytest.mark.parametrize("language", [Language(LETTERS, WORDS), Language(LETTERS, None, LEXICON)])
def test_threads_and_batches_change_nothing(log_probs_of, language):
    config = BeamOptions(beam_width=8, nbest=3)
    phrases = [Phrase("ab", 0.5)]
    decoder = make_decoder(config, LETTERS, 0.02, language, phrases)
    utterances = [log_probs_of(seed, 20 + seed, 4) for seed in range(7)]
    alone = [decoder.decode(x[None], torch.tensor([len(x)]))[0] for x in utterances]
    batch = torch.full((7, 40, 4), math.nan)
    for row, x in enumerate(reversed(utterances)):
        batch[row, : len(x)] = x
    lengths = torch.tensor([len(x) for x in reversed(utterances)])
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(decoder.decode, batch, lengths) for _ in range(8)]
    assert all(call.result() == alone[::-1] for call in calls)


def test_flashlight_finds_no_better_sentence(log_probs_of, tmp_path):
    """Its decoder takes the best path of a sentence where ours adds them up, so ours is never
    below; the language model's part is the same for the same words."""
    flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason=PEER)
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason=PEER)
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary", reason=PEER)
    write_arpa(WORDS.ngrams(), tmp_path / "lm.arpa")
    words = [word for word in WORDS.vocabulary if not word.startswith("<")]
    numbers = dictionary.create_word_dict({**{w: [list(w)] for w in words}, "<unk>": []})
    lm = kenlm.KenLM(str(tmp_path / "lm.arpa"), numbers)
    trie = flashlight.Trie(4, 1)
    for word in words:
        number = numbers.get_index(word)
        _, score = lm.score(lm.start(False), number)
        trie.insert([LETTERS.tokens.index(c) for c in word] + [1], number, score)
    trie.smear(flashlight.SmearingMode.MAX)
    options = flashlight.LexiconDecoderOptions(
        beam_size=500,
        beam_size_token=4,
        beam_threshold=1e6,
        lm_weight=0.7 * math.log(10),
        word_score=0.4,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=False,
        criterion_type=flashlight.CriterionType.CTC,
    )
    peer = flashlight.LexiconDecoder(options, trie, lm, 1, 0, numbers.get_index("<unk>"), [], False)
    config = replace(EXHAUSTIVE, lm_weight=0.7, word_score=0.4)
    decoder = make_decoder(config, LETTERS, 0.02, Language(LETTERS, WORDS))
    for seed in range(20):
        log_probs = log_probs_of(seed, 12, 4).numpy()
        theirs = peer.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        text = " ".join(numbers.get_entry(word) for word in theirs.words if word >= 0)
        (found,) = decoder.decode(torch.from_numpy(log_probs)[None], torch.tensor([12]))
        assert found[0].score >= theirs.score - 1e-4
        same = [h for h in found if " ".join(h.text.split()) == text]
        assert same
        assert same[0].lm_score == pytest.approx(0.7 * math.log(10) * theirs.lmScore, abs=1e-4)


def test_spaces_that_are_no_part_of_the_text_change_no_score():
    labels = [1, 2, 1, 0, 1, 2, 3, 1]  # " a", two spaces, "ab "
    log_probs = torch.full((1, len(labels), 4), -math.inf)
    log_probs[0, range(len(labels)), labels] = 0.0
    decoder = make_decoder(
        BeamOptions(), LETTERS, 0.02, None, [Phrase("a ab", 1.0), Phrase("a a", 9.0)]
    )
    ((found,),) = decoder.decode(log_probs, torch.tensor([len(labels)]))
    assert (found.text, found.bonus_score, found.acoustic_score) == ("a ab", 4.0, 0.0)
    assert [(t.token, t.start) for t in found.tokens] == [
        ("a", 0.02),
        ("<space>", 0.04),
        ("a", 0.10),
        ("b", 0.12),
    ]


@given(seed=st.integers(0, 10**6), width=st.integers(2, 40), options=options, language=languages)
@settings(max_examples=60, deadline=None)
def test_no_two_hypotheses_differ_only_in_spaces(log_probs_of, seed, width, options, language):
    log_probs = log_probs_of(seed, 25, 4, 1.0)
    log_probs[:, 1] += 1.0  # spaces everywhere
    config = BeamOptions(beam_width=width, nbest=width, **options)
    decoder = make_decoder(config, LETTERS, 0.02, language, [Phrase("a", 0.5)])
    (found,) = decoder.decode(log_probs.log_softmax(1)[None], torch.tensor([25]))
    texts = [h.text for h in found]
    assert texts == [" ".join(text.split()) for text in texts]
    assert len(set(texts)) == len(texts)


def test_a_word_is_not_skipped_for_free_at_the_root_of_the_lexicon():
    """ "a" and a space again and again, in which the labellings differ and the text does not."""
    log_probs = torch.tensor([[0.1, 0.1, 0.7, 0.1], *[[0.3, 0.5, 0.1, 0.1]] * 4]).log()[None]
    decoder = make_decoder(BeamOptions(nbest=9), LETTERS, 0.02, Language(LETTERS, WORDS, LEXICON))
    (found,) = decoder.decode(log_probs, torch.tensor([5]))
    assert found[0].text == "a"
    assert math.exp(found[0].acoustic_score) > 0.7 * 0.8**4 - 1e-6  # blanks and spaces, added up


@pytest.mark.parametrize("sure", [30.0, 1000.0])
def test_what_is_sure_is_not_given_up_for_a_word_that_is_complete(sure):
    """Where only one prefix is within the threshold, and it is in the middle of a word."""
    labels = [3, 2, 3, 1, 2, 0, 3, 3, 0]  # "bab ab"
    log_probs = torch.full((1, len(labels), 4), -sure)
    log_probs[0, range(len(labels)), labels] = 0.0
    for language in (Language(LETTERS, None, LEXICON), Language(LETTERS, WORDS, LEXICON)):
        decoder = make_decoder(BeamOptions(), LETTERS, 0.02, language)
        ((found,),) = decoder.decode(log_probs.log_softmax(2), torch.tensor([len(labels)]))
        assert found.text == "bab ab"
        assert found.acoustic_score == pytest.approx(0.0, abs=1e-6)
