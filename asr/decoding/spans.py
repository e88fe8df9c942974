"""From a labelling to when each token was said and how sure the model was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from asr.tokens import Tokenizer
from asr.types import Hypothesis, TimedToken, Word

__all__ = ["Span", "best_alignment", "hypothesis", "path_spans"]

BLANK = 0
Span = tuple[int, int, int]  # token id, first frame, frame after the last


def path_spans(path: Sequence[int]) -> list[Span]:
    """Runs of equal non-blank ids in a path of one id a frame."""
    spans = []
    start = 0
    for token, run in groupby(path):
        end = start + sum(1 for _ in run)
        if token != BLANK:
            spans.append((int(token), start, end))
        start = end
    return spans


def best_alignment(log_probs: NDArray[np.float32], labels: Sequence[int]) -> list[Span]:
    """The most probable path of ``log_probs (T, V)`` that spells ``labels`` (S,), as spans.

    Viterbi over the labels with a blank around each (Graves et al. 2006, section 4.1, with the
    maximum in place of the sum). There must be a path: frames for all labels and repeats.
    """
    T, S = len(log_probs), len(labels)
    if S == 0:
        return []
    states = np.full(2 * S + 1, BLANK)
    states[1::2] = labels
    may_skip = np.zeros(len(states), dtype=bool)  # from two states before, over a blank
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    came_by = np.zeros((T, len(states)), dtype=np.int64)  # how many states back
    for t in range(1, T):
        options = np.full((3, len(states)), -np.inf)
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        came_by[t] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probs[t, states]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    first, last = np.full(S, T), np.zeros(S, dtype=np.int64)
    for t in range(T - 1, -1, -1):
        if state % 2:
            first[state // 2] = min(first[state // 2], t)
            last[state // 2] = max(last[state // 2], t)
        state -= came_by[t, state]
    return [(int(k), int(a), int(b) + 1) for k, a, b in zip(labels, first, last, strict=True)]


def hypothesis(
    log_probs: NDArray[np.float32],
    spans: Sequence[Span],
    score: float,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
) -> Hypothesis:
    """Put a hypothesis together from its spans in ``log_probs (T, V)``.

    A token's confidence is its highest probability within its span; that of a word and of the
    whole is the geometric mean of its tokens', so that length does not lower it. A hypothesis
    without tokens is as sure as its blanks.
    """
    peaks = [float(log_probs[a:b, k].max()) for k, a, b in spans]
    if not peaks:
        peaks = [float(log_probs[:, BLANK].mean())] if len(log_probs) else [0.0]
    tokens = tuple(
        TimedToken(
            token=tokenizer.tokens[k],
            start=a * seconds_per_frame,
            end=b * seconds_per_frame,
            confidence=_confidence([float(log_probs[a:b, k].max())]),
        )
        for k, a, b in spans
    )
    return Hypothesis(
        text=tokenizer.decode(k for k, _, _ in spans),
        score=score,
        confidence=_confidence(peaks),
        tokens=tokens,
        words=tuple(_words(tokens, [k for k, _, _ in spans], tokenizer)),
    )


def _words(
    tokens: Sequence[TimedToken], ids: Sequence[int], tokenizer: Tokenizer
) -> Iterator[Word]:
    """Group tokens between separators; a vocabulary of phones has no words."""
    if tokenizer.kind == "phones":
        return
    separator = tokenizer.word_separator
    for is_separator, group in groupby(
        zip(ids, tokens, strict=True), key=lambda pair: pair[0] == separator
    ):
        if is_separator:
            continue
        parts = [token for _, token in group]
        logs = [float(np.log(max(part.confidence, 1e-30))) for part in parts]
        yield Word(
            text="".join(part.token for part in parts),
            start=parts[0].start,
            end=parts[-1].end,
            confidence=_confidence(logs),
        )


def _confidence(log_probs: Sequence[float]) -> float:
    return float(min(1.0, np.exp(np.mean(log_probs))))
