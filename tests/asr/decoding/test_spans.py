"""When each token was said, how sure the model was, and how tokens make words."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import spans
from asr.decoding.spans import best_alignment, hypothesis, path_spans, squeeze
from asr.tokens import Tokenizer

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])


def probabilities(rows: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float32))


def path_of(found: list[spans.Span], frames: int) -> list[int]:
    path = [0] * frames
    for token, start, end in found:
        path[start:end] = [token] * (end - start)
    return path


def test_spans_are_the_runs_of_a_path():
    assert path_spans([0, 2, 2, 0, 2, 3, 3, 0]) == [(2, 1, 3), (2, 4, 5), (3, 5, 7)]
    assert path_spans([0, 0]) == path_spans([]) == []


@pytest.mark.parametrize("chunk", [1, 2, 256])
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), vocab=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_alignment_is_the_best_of_all_paths(
    log_probs_of, every_path, collapsed, chunk, seed, frames, vocab
):
    log_probs = log_probs_of(seed, frames, vocab).numpy()
    _, best = every_path(log_probs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "chunk_length", lambda frames, size: chunk)
        for labels, (score, _) in best.items():
            path = path_of(best_alignment(log_probs, labels), frames)
            assert collapsed(path) == labels
            said = sum(float(log_probs[t, k]) for t, k in enumerate(path))
            assert said == pytest.approx(score, abs=1e-5)


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), vocab=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_alignment_of_a_text_is_the_best_of_all_paths_that_differ_in_spaces(
    log_probs_of, every_path, squeezed, seed, frames, vocab
):
    log_probs = log_probs_of(seed, frames, vocab).numpy()
    of_text: dict = {}
    for labels, (score, path) in every_path(log_probs)[1].items():
        text = squeezed(labels, 1)
        of_text[text] = max(of_text.get(text, (-np.inf, ())), (score, path))
    for text, (_, path) in of_text.items():
        kept = squeeze(path_spans(list(path)), 1)
        assert tuple(k for k, _, _ in kept) == text
        assert best_alignment(log_probs, text, None, 1) == kept


def test_alignment_over_several_chunks_is_that_of_librosa(log_probs_of):
    log_probs = log_probs_of(3, 300, 5, 1.0).double()
    said = [token for token, _, _ in path_spans(log_probs.argmax(-1).tolist())]
    labels = [2, 2, *said[::5]]
    states = [0, *(state for k in labels for state in (k, 0))]
    # A third to each step that CTC allows; the rest goes to a sink that no frame can be in.
    sink = len(states)
    steps = np.zeros((sink + 1, sink + 1))
    for i, state in enumerate(states):
        skips = i + 2 < sink and states[i + 2] not in (0, state)
        for j in (i, i + 1, *([i + 2] if skips else [])):
            if j < sink:
                steps[i, j] = 1 / 3
    steps[:, sink] += 1 - steps.sum(axis=1)
    emitted = np.zeros((sink + 1, len(log_probs)))
    emitted[:sink] = log_probs.exp().numpy().T[states]
    emitted[: sink - 2, -1] = 0.0  # ends in the last label or the blank behind it
    start = np.array([0.5, 0.5, *[0.0] * (sink - 1)])
    path = librosa.sequence.viterbi(emitted, steps, p_init=start)
    assert path.max() < sink
    found = path_of(best_alignment(log_probs.float().numpy(), labels), len(log_probs))
    assert found == [states[i] for i in path]


def test_times_are_seconds_and_words_end_with_their_last_token():
    rows = [
        [0.9, 0.0, 0.1, 0.0],
        [0.2, 0.0, 0.8, 0.0],
        [0.1, 0.0, 0.9, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.3, 0.7, 0.0, 0.0],
        [0.5, 0.0, 0.0, 0.5],
        [0.4, 0.0, 0.0, 0.6],
    ]
    log_probs = probabilities(rows)
    found = hypothesis(log_probs, [(2, 1, 3), (3, 3, 4), (1, 4, 5), (3, 6, 7)], -1.0, LETTERS, 0.03)
    assert found.text == "ab b"
    assert [t.token for t in found.tokens] == ["a", "b", "<space>", "b"]
    assert [(t.start, t.end) for t in found.tokens] == [
        pytest.approx((0.03, 0.09)),
        pytest.approx((0.09, 0.12)),
        pytest.approx((0.12, 0.15)),
        pytest.approx((0.18, 0.21)),
    ]
    assert [t.confidence for t in found.tokens] == pytest.approx([0.9, 1.0, 0.7, 0.6])
    first, second = found.words
    assert (first.text, second.text) == ("ab", "b")
    assert (first.start, first.end) == pytest.approx((0.03, 0.12))
    assert (second.start, second.end) == pytest.approx((0.18, 0.21))
    assert first.confidence == pytest.approx(math.sqrt(0.9))
    assert found.confidence == pytest.approx((0.9 * 1.0 * 0.7 * 0.6) ** (1 / 4))


@pytest.mark.parametrize("text", ["a  b", " a", "b ", " "])
def test_words_are_the_words_of_the_text(text):
    ids = LETTERS.encode(text)
    log_probs = probabilities([[0.25] * 4] * (2 * len(ids)))
    found = hypothesis(
        log_probs, [(k, 2 * i, 2 * i + 1) for i, k in enumerate(ids)], 0.0, LETTERS, 0.01
    )
    assert [word.text for word in found.words] == text.split()


def test_phones_have_tokens_and_no_words():
    phones = Tokenizer(["<blank>", "aa", "sil"], "phones")
    found = hypothesis(probabilities([[0.1, 0.8, 0.1]]), [(1, 0, 1)], 0.0, phones, 0.01)
    assert found.text == "aa"
    assert [t.token for t in found.tokens] == ["aa"]
    assert found.words == ()


def test_confidence_does_not_fall_with_length():
    log_probs = probabilities([[0.2, 0.0, 0.8, 0.0]] * 80)
    short, long = (
        hypothesis(log_probs, [(2, 2 * i, 2 * i + 1) for i in range(n)], 0.0, LETTERS, 0.01)
        for n in (1, 40)
    )
    assert short.confidence == pytest.approx(long.confidence) == pytest.approx(0.8)
