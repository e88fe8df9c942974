"""The model in arrays says what a dictionary of its n-grams says."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm.kneser_ney import KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.lm.ngrams import BEGIN, END, UNKNOWN, Ngrams, NgramTable
from asr.lm.text import read_sentences
from asr.lm.trie import score_ids
from asr.types import LanguageModelError

WORDS = ("a", "b", "c", "ß")
MARKS = (UNKNOWN, BEGIN, END)


def numbers(words: list[tuple[str, ...]], vocabulary: tuple[str, ...]) -> np.ndarray:
    rows = [[vocabulary.index(word) for word in ngram] for ngram in words]
    return np.array(rows, dtype=np.int32)


@st.composite
def models(draw: st.DrawFn) -> Ngrams:
    """Any n-grams whose contexts are there; their ends need not be, as after entropy pruning."""
    vocabulary = tuple(draw(st.permutations((*MARKS, *WORDS))))
    log_prob = st.floats(-9, 0, width=32)
    backoff = st.just(0.0) | st.floats(-3, 1, width=32)  # 0 where a state could be dropped
    of_order = [[(word,) for word in vocabulary]]
    for order in range(2, draw(st.integers(1, 4)) + 1):
        contexts = st.sampled_from(of_order[-1] or [()])
        longer = st.tuples(contexts, st.sampled_from(vocabulary)).map(lambda t: (*t[0], t[1]))
        drawn = draw(st.lists(longer, max_size=12, unique=True)) if of_order[-1] else []
        of_order.append([ngram for ngram in drawn if len(ngram) == order])
    tables = []
    for order, ngrams in enumerate(of_order, start=1):
        n = len(ngrams)
        probs = draw(st.lists(log_prob, min_size=n, max_size=n))
        weights = draw(st.lists(backoff, min_size=n, max_size=n))
        last = order == len(of_order)
        tables.append(
            NgramTable(
                numbers(ngrams, vocabulary).reshape(n, order),
                np.array(probs, dtype=np.float32),
                np.array([0.0] * n if last else weights, dtype=np.float32),
            )
        )
    return Ngrams(vocabulary, tuple(tables))


SENTENCES = st.lists(st.sampled_from((*WORDS, "unheard")), max_size=12)


@settings(deadline=None, max_examples=300)
@given(ngrams=models(), sentence=SENTENCES)
def test_equals_a_dictionary_that_backs_off(ngrams, sentence, entries_of, oracle):
    model = LanguageModel(ngrams)
    expected = oracle(entries_of(ngrams), sentence)
    assert model.score_sentence(sentence) == pytest.approx(expected, abs=1e-9)
    state, stepwise = model.start, []
    for word in [*model.ids(sentence), model.end]:
        score, state = model.score(state, int(word))
        stepwise.append(score)
    assert stepwise == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(ngrams=models())
def test_the_list_of_its_ngrams_is_what_it_was_made_of(ngrams, entries_of):
    again = LanguageModel(ngrams).ngrams()
    assert again.vocabulary == ngrams.vocabulary
    assert entries_of(again) == entries_of(ngrams)


def test_real_models_equal_the_dictionary(lmplz, entries_of, oracle):
    ngrams = estimate(read_sentences([lmplz / "text.txt"]), KneserNeyConfig(4, (0, 0, 1)))
    model, dictionary = LanguageModel(ngrams), entries_of(ngrams)
    for units in read_sentences([lmplz / "heldout.txt"]):
        words = [unit.decode() for unit in units]
        expected = oracle(dictionary, words)
        assert model.score_sentence(words) == pytest.approx(expected, abs=1e-9)


def test_histories_that_no_word_can_tell_apart_are_one_state(arpa, tmp_path):
    (tmp_path / "a.arpa").write_text(arpa)
    model = LanguageModel.load(tmp_path / "a.arpa")

    def state_after(*words: str) -> int:
        state = model.start
        for word in model.ids(words):
            state = model.score(state, int(word))[1]
        return state

    assert state_after("b", "a") == state_after("a", "a")  # "b a" has neither followers nor backoff
    assert state_after("a") != state_after("a", "a")  # "<s> a" has both
    assert state_after("unheard") == state_after("b", "unheard")


def test_an_ngram_takes_20_bytes_at_most(lmplz):
    ngrams = estimate(read_sentences([lmplz / "text.txt"]), KneserNeyConfig(3))
    trie = LanguageModel(ngrams).trie
    count = sum(len(table.words) for table in ngrams.tables)
    assert sum(array.nbytes for array in trie) <= 20 * (count + 1) + 4


def test_a_model_without_unknown_words_finds_them_next_to_impossible(arpa, tmp_path):
    lines = arpa.replace("ngram 1=5", "ngram 1=4").replace("-1.5\t<unk>\n", "")
    (tmp_path / "a.arpa").write_text(lines)
    model = LanguageModel.load(tmp_path / "a.arpa")
    scores = model.score_sentence(["unheard"])
    assert scores == pytest.approx([-0.4 - 100.0, -0.9])


def test_states_and_words_that_do_not_exist_are_refused(arpa, tmp_path):
    (tmp_path / "a.arpa").write_text(arpa)
    model = LanguageModel.load(tmp_path / "a.arpa")
    for state, word in [(0, 5), (0, -1), (-1, 0), (10**6, 0)]:
        with pytest.raises(IndexError):
            model.score(state, word)


@pytest.mark.parametrize("mark", [BEGIN, END])
def test_models_without_sentence_marks_are_refused(mark):
    vocabulary = tuple(word for word in (*MARKS, "a") if word != mark)
    values = np.full(len(vocabulary), -0.5, dtype=np.float32)
    table = NgramTable(np.arange(len(vocabulary), dtype=np.int32)[:, None], values, values * 0)
    with pytest.raises(LanguageModelError, match=f"the model has no {mark}"):
        LanguageModel(Ngrams(vocabulary, (table,)))


@pytest.mark.timed
def test_queries_let_other_threads_run(lmplz):
    model = LanguageModel.load(lmplz / "order4.arpa.gz")
    ids = np.tile(model.ids(["the", "red", "boat", "anna", "sees"]), 1_500_000)
    score_ids(model.trie, model.start, ids[:5])
    ends: list[float] = []

    def work() -> None:
        begin = time.perf_counter()
        score_ids(model.trie, model.start, ids)
        ends.extend((begin, time.perf_counter()))

    worker = threading.Thread(target=work)
    ticks = []
    worker.start()
    while worker.is_alive():
        ticks.append(time.perf_counter())
    worker.join()
    begin, end = ends
    beside = [begin, *(tick for tick in ticks if begin < tick < end), end]
    # With the lock held nothing would tick from the beginning of the work to its end.
    assert max(np.diff(beside)) < 0.5 * (end - begin)
