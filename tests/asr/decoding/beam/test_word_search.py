"""Beam search over words said by a lexicon, against all paths, all pronunciations and all words."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, Phrase, Stop, StoppedError, WfstOptions, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon, spell_words, write_lexicon
from asr.lm.arpa import write_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import DecodingError

PEER = "flashlight-text is not installed: the extra peers has it for Python up to 3.12"
PHONES = Tokenizer(["<blank>", "a", "b", "sil"], kind="phones")
QUIETER = Tokenizer(["<blank>", "a", "sil", "sp"], kind="phones")
LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])
JOINED = Tokenizer(["<blank>", "a", "b", "c"])
EXHAUSTIVE = BeamOptions(
    beam_width=1024, nbest=1024, token_min_log_prob=-math.inf, beam_threshold=None
)


def lm_of(*sentences: str, order: int = 3) -> LanguageModel:
    units = [[unit.encode() for unit in sentence.split()] for sentence in sentences]
    return LanguageModel(estimate(units, KneserNeyConfig(order, discount_fallback=FALLBACK)))


WORDS = lm_of("eye see", "I see eye", "a I", "bee a bee", "see I I", "a a eye bee")
# "I" and "eye" are said alike, "a" in two ways, "see" begins as "a", "new" is not in the model.
SPOKEN = Lexicon(
    {
        "I": ((1,),),
        "eye": ((1,),),
        "a": ((2,), (1, 2)),
        "see": ((2, 2), (2, 1, 1)),
        "new": ((1, 1),),
    },
    None,
    (3,),
)
QUIET = replace(SPOKEN, silences=())
MUTE = Lexicon({"I": ((1,),), "eye": ((1, 2, 1),), "bee": ((2,),)}, None, (2, 3))
SPELLED = Lexicon(
    {"I": ((2,),), "eye": ((2,), (3, 3)), "see": ((2, 3),), "bee": ((3,),), "new": ((2, 1, 3),)}, 1
)
PLAIN = Lexicon({"I": ((1,),), "see": ((1, 2), (3,)), "bee": ((2,),)}, None)

languages = st.sampled_from(
    [
        (PHONES, Language(PHONES, WORDS, SPOKEN)),
        (PHONES, Language(PHONES, None, SPOKEN)),
        (PHONES, Language(PHONES, WORDS, QUIET)),
        (QUIETER, Language(QUIETER, WORDS, MUTE)),
        (LETTERS, Language(LETTERS, WORDS, SPELLED)),
        (LETTERS, Language(LETTERS, None, SPELLED)),
        (JOINED, Language(JOINED, WORDS, PLAIN)),
    ]
)
phrases = st.lists(
    st.builds(
        Phrase,
        st.sampled_from(["I", "see", "I see", "bee I", "see I see", "eye"]),
        st.sampled_from([2.0, 0.5, -1.5]),
    ),
    max_size=3,
)
options = st.fixed_dictionaries(
    {
        "lm_weight": st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        "word_score": st.sampled_from([0.0, 1.5, -0.7]),
        "unk_score": st.sampled_from([None, 0.0, -2.5]),
    }
)


def readings(labels: tuple[int, ...], lexicon: Lexicon, vocab: int, *, unknown: bool):
    """Each way to read a labelling as words, with the logarithm of what unknown words cost."""
    between = {lexicon.separator} if lexicon.separator is not None else set(lexicon.silences)
    letters = -math.log(vocab - 1 - len(between))

    @lru_cache(None)
    def read(at: int, before: str) -> list[tuple[tuple[str, ...], float]]:
        """``before``: what stands before: "start", "silence", "word" or "unknown"."""
        found = [((), 0.0)] if at == len(labels) else []
        if at < len(labels) and labels[at] in between:
            found += read(at + 1, "start" if before == "start" else "silence")
        if before in ("word", "unknown") and lexicon.separator is not None:
            return found
        for word, ways in lexicon.pronunciations.items():
            for way in ways:
                if labels[at : at + len(way)] == way:
                    found += [((word, *w), s) for w, s in read(at + len(way), "word")]
        if unknown and before != "unknown":
            end = at
            while end < len(labels) and labels[end] not in between:
                end += 1
                cost = letters * (end - at)
                found += [(("<unk>", *w), s + cost) for w, s in read(end, "unknown")]
        return found

    return read(0, "start")


def every_sentence(log_probs, every_path, lexicon: Lexicon, *, unknown: bool):
    """Of each sequence of words: the log-sum over paths and ways to say it."""
    total: dict[tuple[str, ...], float] = {}
    for labels, score in every_path(log_probs.numpy())[0].items():
        for words, cost in readings(labels, lexicon, log_probs.shape[1], unknown=unknown):
            total[words] = float(np.logaddexp(total.get(words, -np.inf), score + cost))
    return total


def expected_parts(words, config, language, phrases=()):
    lm = 0.0
    if language.lm is not None and config.lm_weight:
        lm = config.lm_weight * math.log(10) * float(language.lm.score_sentence(words).sum())
    unknown = sum(word == "<unk>" for word in words)
    bonus = config.word_score * len(words) + unknown * (config.unk_score or 0.0)
    gap = language.lexicon.separator is not None
    for phrase in phrases:
        parts = tuple(phrase.text.split())
        places = range(len(words) - len(parts) + 1)
        count = sum(words[i : i + len(parts)] == parts for i in places)
        tokens = sum(len(language.lexicon.pronunciations[word][0]) for word in parts)
        bonus += phrase.weight * (tokens + gap * (len(parts) - 1)) * count
    return lm, bonus


def as_words(hypothesis, lexicon) -> tuple[str, ...]:
    """Unknown words are written as they are spelled."""
    words = [word.text for word in hypothesis.words]
    return tuple(word if word in lexicon.pronunciations else "<unk>" for word in words)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 10),
    width=st.integers(1, 3),
    options=options,
    language=languages,
)
@settings(max_examples=100, deadline=None)
def test_a_narrow_beam_finds_nothing_worse_than_what_the_best_path_says(
    log_probs_of, collapsed, seed, frames, width, options, language
):
    tokenizer, language = language
    config = BeamOptions(beam_width=width, nbest=width, **options)
    log_probs = log_probs_of(seed, frames, 4)
    labels = collapsed(log_probs.argmax(dim=1).tolist())
    acoustic = float(log_probs.max(dim=1).values.sum()) if frames else 0.0
    unknown = config.unk_score is not None
    read = readings(labels, language.lexicon, 4, unknown=unknown)
    bars = [acoustic + cost + sum(expected_parts(words, config, language)) for words, cost in read]
    decoder = make_decoder(config, tokenizer, 0.02, language)
    found = decoder.begin().search(log_probs.numpy())
    assert not bars or found[0].score >= max(bars) - 1e-5
    scores = [sentence.score for sentence in found]
    assert scores == sorted(scores, reverse=True)
    assert len({sentence.labels for sentence in found}) == len(found) <= width


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 5),
    options=options,
    language=languages,
    phrases=phrases,
)
@settings(max_examples=150, deadline=None)
def test_a_wide_beam_is_the_sum_over_all_paths_and_pronunciations_of_all_sentences(
    log_probs_of, every_path, seed, frames, options, language, phrases
):
    tokenizer, language = language
    config = replace(EXHAUSTIVE, **options)
    log_probs = log_probs_of(seed, frames, 4)
    unknown = config.unk_score is not None
    acoustic = every_sentence(log_probs, every_path, language.lexicon, unknown=unknown)
    known = language.lexicon.pronunciations.keys()
    phrases = [phrase for phrase in phrases if known >= set(phrase.text.split())]
    decoder = make_decoder(config, tokenizer, 0.02, language, phrases)
    (found,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    by_words = {as_words(h, language.lexicon): h for h in found}
    assert len(by_words) == len(found)
    assert len(found) == min(len(acoustic), 1024)
    for words, h in by_words.items():
        lm, bonus = expected_parts(words, config, language, phrases)
        parts = (h.acoustic_score, h.lm_score, h.bonus_score)
        assert parts == pytest.approx((acoustic[words], lm, bonus), abs=1e-5)
        assert h.score == pytest.approx(sum(parts), abs=1e-5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


def decode(log_probs, tokenizer, language, *phrases, **options):
    config = BeamOptions(**options)
    decoder = make_decoder(config, tokenizer, 0.02, language, phrases)
    return decoder.decode(log_probs[None], torch.tensor([len(log_probs)]))[0]


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 40),
    width=st.integers(1, 30),
    word_score=st.sampled_from([0.0, 0.8, -0.5]),
    sharpness=st.floats(0.5, 5.0),
)
@settings(max_examples=100, deadline=None)
def test_words_of_one_spelling_are_found_as_by_the_search_in_characters(
    log_probs_of, seed, frames, width, word_score, sharpness
):
    """The same texts, scores and times, at any width, where no language model looks ahead."""
    ways = {"A": ((2,),), "AB": ((2, 3),), "BB": ((3, 3),), "BAB": ((3, 2, 3),)}
    by_words = Language(LETTERS, None, Lexicon(ways, 1))
    by_letters = Language(LETTERS, None, spell_words(["a", "ab", "bb", "bab"], LETTERS))
    assert by_words.says_words
    assert not by_letters.says_words
    options = {"beam_width": width, "nbest": min(width, 4), "word_score": word_score}
    log_probs = log_probs_of(seed, frames, 4, sharpness)
    found = decode(log_probs, LETTERS, by_words, **options)
    expected = decode(log_probs, LETTERS, by_letters, **options)
    assert [h.text.lower() for h in found] == [h.text for h in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-5)
        assert mine.confidence == pytest.approx(theirs.confidence)
        times = [(word.start, word.end) for word in mine.words]
        assert times == [(word.start, word.end) for word in theirs.words]
        assert mine.tokens == theirs.tokens


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), width=st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_a_narrow_beam_keeps_to_the_lexicon_and_claims_no_more_than_there_is(
    log_probs_of, seed, frames, width
):
    language = Language(PHONES, WORDS, SPOKEN)
    log_probs = log_probs_of(seed, frames, 4)
    found = decode(log_probs, PHONES, language, beam_width=width, nbest=width)
    decoder = make_decoder(EXHAUSTIVE, PHONES, 0.02, language)
    (wide,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    bound = {h.text: h.score for h in wide}
    assert len({h.text for h in found}) == len(found) >= 1
    for h in found:
        assert set(h.text.split()) <= set(SPOKEN.pronunciations)
        assert h.text == " ".join(word.text for word in h.words)
        edges = [edge for word in h.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert h.score <= bound[h.text] + 1e-6


def test_the_language_model_tells_apart_what_sounds_alike():
    log_probs = torch.full((6, 4), -12.0)
    log_probs[range(6), [0, 1, 0, 2, 2, 0]] = 0.0  # said: a b
    log_probs = log_probs.log_softmax(1)
    for sentence in ("I a", "eye a"):
        language = Language(PHONES, lm_of(sentence, sentence, "see"), SPOKEN)
        best = decode(log_probs, PHONES, language, lm_weight=1.0)[0]
        assert best.text == sentence
        assert [(w.text, w.start, w.end) for w in best.words] == [
            (sentence.split()[0], 0.02, 0.04),
            ("a", 0.06, pytest.approx(0.10)),
        ]
    both = decode(log_probs, PHONES, Language(PHONES, None, SPOKEN), nbest=3)
    assert {h.text for h in both[:2]} == {"I a", "eye a"} or both[0].text == "a"


def test_silence_between_words_may_be_said_or_not():
    language = Language(PHONES, None, SPOKEN)
    for path in ([1, 0, 2], [3, 1, 3, 2, 3], [3, 0, 3, 1, 0, 3, 3, 0, 3, 2, 0]):
        log_probs = torch.full((len(path), 4), -12.0)
        log_probs[range(len(path)), path] = 0.0
        found = decode(log_probs.log_softmax(1), PHONES, language, nbest=16)
        assert "I a" in [h.text for h in found]
        best = next(h for h in found if h.text == "I a")
        assert best.acoustic_score == pytest.approx(0.0, abs=1e-3)
        assert [token.token for token in best.tokens] == ["a", "b"]


def test_words_are_written_as_the_lexicon_calls_them():
    """A spelling may be another than the word's own, and that of two words."""
    language = Language(LETTERS, None, Lexicon({"DR": ((2, 3),), "DRIVE": ((2, 3),)}, 1))
    log_probs = torch.full((3, 4), -12.0)
    log_probs[range(3), [2, 3, 0]] = 0.0
    found = decode(log_probs.log_softmax(1), LETTERS, language, nbest=2)
    assert [h.text for h in found] == ["DR", "DRIVE"]


def test_an_unknown_word_is_what_the_lexicon_cannot_say():
    log_probs = torch.full((5, 4), -12.0)
    log_probs[range(5), [1, 2, 1, 3, 2]] = 0.0  # a b a, silence, b
    log_probs = log_probs.log_softmax(1)
    lexicon = Lexicon({"bee": ((2,),)}, None, (3,))
    best = decode(log_probs, PHONES, Language(PHONES, None, lexicon), unk_score=-1.0)[0]
    assert best.text == "<unk> bee"
    assert [token.token for token in best.tokens] == ["a", "b", "a", "b"]
    assert best.bonus_score == -1.0
    assert best.acoustic_score == pytest.approx(-3 * math.log(2), abs=1e-3)  # one of two, each
    spelled = torch.full((5, 4), -12.0)
    spelled[range(5), [2, 3, 1, 3, 3]] = 0.0
    lexicon = Lexicon({"BEE": ((3,),)}, 1)
    best = decode(
        spelled.log_softmax(1), LETTERS, Language(LETTERS, None, lexicon), unk_score=-1.0
    )[0]
    assert best.text == "ab BEE"


def test_a_phrase_brings_up_what_was_too_far_behind(log_probs_of):
    language = Language(PHONES, WORDS, SPOKEN)
    log_probs = log_probs_of(7, 16, 4, 1.0)
    options = {"beam_width": 6, "lm_weight": 1.0}
    assert "new see" not in decode(log_probs, PHONES, language, **options)[0].text
    boosted = decode(log_probs, PHONES, language, Phrase("new see", 8.0), **options)[0]
    assert "new see" in boosted.text
    assert boosted.bonus_score >= 8.0 * 4


def test_what_cannot_be_is_refused_before_there_is_audio():
    language = Language(PHONES, WORDS, SPOKEN)
    with pytest.raises(DecodingError, match=r"'nobody' of the phrase 'I nobody' .* lexicon"):
        decode(torch.zeros(0, 4), PHONES, language, Phrase("I nobody"))
    with pytest.raises(DecodingError, match="set token_score to 0 and use word_score"):
        decode(torch.zeros(0, 4), PHONES, language, token_score=1.0)
    assert decode(torch.zeros(0, 4), PHONES, language)[0].text == ""


def test_where_no_word_is_possible_the_utterance_is_named():
    log_probs = torch.full((2, 3, 4), -math.inf)
    log_probs[0, :, 0] = 0.0
    log_probs[1, :, 1] = 0.0  # "a", which alone is no word
    language = Language(PHONES, None, Lexicon({"bee": ((2,),)}))
    decoder = make_decoder(BeamOptions(), PHONES, 0.02, language)
    with pytest.raises(DecodingError, match=r"utterance 1 .*no words of the lexicon"):
        decoder.decode(log_probs, torch.tensor([3, 3]))


@pytest.mark.parametrize("options", [{}, {"unk_score": -2.0}])
def test_an_utterance_is_the_same_alone_and_in_any_batch(log_probs_of, options):
    language = Language(PHONES, WORDS, SPOKEN)
    config = BeamOptions(beam_width=8, nbest=3, **options)
    decoder = make_decoder(config, PHONES, 0.02, language, [Phrase("I see", 0.5)])
    utterances = [log_probs_of(seed, 20 + seed, 4) for seed in range(7)]
    alone = [decoder.decode(x[None], torch.tensor([len(x)]))[0] for x in utterances]
    batch = torch.full((7, 40, 4), math.nan)
    for row, x in enumerate(reversed(utterances)):
        batch[row, : len(x)] = x
    lengths = torch.tensor([len(x) for x in reversed(utterances)])
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(decoder.decode, batch, lengths) for _ in range(4)]
    assert all(call.result() == alone[::-1] for call in calls)


def test_a_request_to_stop_ends_the_search(log_probs_of):
    stop = Stop()
    stop.set()
    decoder = make_decoder(BeamOptions(), PHONES, 0.02, Language(PHONES, None, SPOKEN))
    with pytest.raises(StoppedError):
        decoder.decode(log_probs_of(0, 9, 4)[None], torch.tensor([9]), stop)


def test_a_long_utterance_with_many_words_of_one_sound_is_searched(log_probs_of):
    """More hypotheses in a frame than there was room for at first."""
    words = {f"w{n}": ((1,), (2,)) for n in range(300)}
    language = Language(PHONES, None, Lexicon(words))
    found = decode(log_probs_of(3, 60, 4, 1.0), PHONES, language, beam_width=500, nbest=20)
    assert len({h.text for h in found}) == 20


def test_flashlight_finds_no_better_sentence(log_probs_of, tmp_path):
    """It takes the best path of a sentence where ours adds them up, so ours is never below; the
    language model's part is the same for the same words."""
    flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason=PEER)
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason=PEER)
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary", reason=PEER)
    write_arpa(WORDS.ngrams(), tmp_path / "lm.arpa")
    # It lets a word's last token repeat the one before without a blank, which here cannot be.
    ways = {"I": ((1, 2),), "eye": ((1, 2),), "a": ((2, 1), (2, 1, 2)), "see": ((1, 2, 1),)}
    spoken = Lexicon(ways, None, (3,))
    numbers = dictionary.create_word_dict(
        {**{word: [] for word in spoken.pronunciations}, "<unk>": []}
    )
    lm = kenlm.KenLM(str(tmp_path / "lm.arpa"), numbers)
    silence = spoken.silences[0]
    trie = flashlight.Trie(PHONES.size, silence)
    for word, way in spoken.ways():
        number = numbers.get_index(word)
        trie.insert(list(way), number, lm.score(lm.start(False), number)[1])
    trie.smear(flashlight.SmearingMode.MAX)
    options = flashlight.LexiconDecoderOptions(
        beam_size=1000,
        beam_size_token=PHONES.size,
        beam_threshold=1e6,
        lm_weight=0.7 * math.log(10),
        word_score=0.4,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=False,
        criterion_type=flashlight.CriterionType.CTC,
    )
    peer = flashlight.LexiconDecoder(
        options, trie, lm, silence, 0, numbers.get_index("<unk>"), [], False
    )
    language = Language(PHONES, WORDS, spoken)
    config = replace(EXHAUSTIVE, lm_weight=0.7, word_score=0.4)
    decoder = make_decoder(config, PHONES, 0.02, language)
    for seed in range(20):
        log_probs = log_probs_of(seed, 10, 4).numpy()
        theirs = peer.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        text = " ".join(numbers.get_entry(word) for word in theirs.words if word >= 0)
        (found,) = decoder.decode(torch.from_numpy(log_probs)[None], torch.tensor([10]))
        assert found[0].score >= theirs.score - 1e-4
        (same,) = [h for h in found if h.text == text]
        assert same.score >= theirs.score - 1e-4
        assert same.lm_score == pytest.approx(0.7 * math.log(10) * theirs.lmScore, abs=1e-4)


def test_the_decoding_graph_finds_no_better_sentence(log_probs_of, tmp_path):
    """Kaldi's search takes the best path of all, through the same lexicon and language model."""
    for package in ("kaldifst", "kaldilm", "kaldi_decoder"):
        pytest.importorskip(package, reason=f"{package}, of the extra wfst, is not installed")
    from asr.decoding.wfst.graph import save_graph
    from asr.decoding.wfst.make import make_graph

    # Of order 1: where a path may back off, though the model has the longer n-gram, theirs does.
    lm = lm_of("eye see", "I see eye", "a I", "see I I", "a a eye a", order=1)
    write_arpa(lm.ngrams(), tmp_path / "lm.arpa")
    write_lexicon(QUIET, tmp_path / "lexicon.txt", PHONES)
    save_graph(make_graph(PHONES, tmp_path / "lm.arpa", tmp_path / "lexicon.txt"), tmp_path / "g")
    options = WfstOptions(graph=str(tmp_path / "g"), search_beam=1000.0, max_active=30_000)
    peer = make_decoder(options, PHONES, 0.02)
    decoder = make_decoder(
        replace(EXHAUSTIVE, lm_weight=1.0), PHONES, 0.02, Language(PHONES, lm, QUIET)
    )
    for seed in range(20):
        log_probs = log_probs_of(seed, 9, 4)[None]
        log_probs[:, :, 3] = -math.inf  # silence, of which the graph knows nothing
        lengths = torch.tensor([9])
        ((theirs,),) = peer.decode(log_probs, lengths)
        (found,) = decoder.decode(log_probs, lengths)
        assert found[0].score >= theirs.score - 1e-4
        (same,) = [h for h in found if h.text == theirs.text]
        assert same.lm_score == pytest.approx(theirs.lm_score, abs=1e-3)
        assert same.acoustic_score >= theirs.acoustic_score - 1e-4
