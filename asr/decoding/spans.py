"""From a labelling to when each token was said and how sure the model was."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, fsum, inf, isqrt, log

import numpy as np
from numpy.typing import NDArray

from asr.decoding.stopping import Stop
from asr.tokens import BLANK_ID, Tokenizer
from asr.types import Hypothesis, TimedToken, Word

__all__ = [
    "Span",
    "best_alignment",
    "chunk_length",
    "gap_states",
    "highest",
    "hypothesis",
    "path_spans",
    "quiet_tokens",
    "running_sum",
    "silence",
    "spelled",
    "squeeze",
    "timed_tokens",
    "word_of",
]

BACK_POINTERS = 1 << 20  # bytes
NO_SEPARATOR = -1
LEAST_CONFIDENCE = 1e-30
Span = tuple[int, int, int]  # token id, first frame, frame after the last


def path_spans(path: Sequence[int] | NDArray[np.int64]) -> list[Span]:
    """Runs of equal non-blank ids in a path of one id a frame."""
    ids = np.asarray(path, dtype=np.int64)
    if not len(ids):
        return []
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    ends = np.append(starts[1:], len(ids))
    said = ids[starts] != BLANK_ID
    return list(
        zip(ids[starts][said].tolist(), starts[said].tolist(), ends[said].tolist(), strict=True)
    )


def squeeze(spans: Sequence[Span], separator: int | None, *, follows: bool = False) -> list[Span]:
    """``spans`` without separators at the ends and after others: no part of a text.

    ``follows``: they come behind another token, so that a separator may be the first.
    """
    kept: list[Span] = []
    for span in spans:
        if span[0] != separator or (kept[-1][0] != separator if kept else follows):
            kept.append(span)
    return kept[:-1] if kept and kept[-1][0] == separator else kept


def best_alignment(
    log_probs: NDArray[np.float32],
    labels: Sequence[int],
    stop: Stop | None = None,
    separator: int | None = None,
    *,
    follows: bool = False,
) -> list[Span]:
    """The most probable path of ``log_probs (T, V)`` that spells ``labels`` (S,), as spans.

    Viterbi over the labels with a blank around each (Graves et al. 2006, section 4.1, with the
    maximum in place of the sum). Empty if there is none: too few frames for all labels and repeats,
    or none that is possible. With a ``separator``, the path may have more of these, which
    :func:`squeeze` takes away. ``follows``: the labels come behind another, which is no separator.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    T, S = len(log_probs), len(labels)
    if S == 0:
        return []
    from asr.decoding.recursions import (  # here: greedy decoding does without
        advance_scores,
        label_states,
        read_spans,
        trace_path,
    )

    apart = NO_SEPARATOR if separator is None else separator
    frames = np.ascontiguousarray(log_probs, dtype=np.float32)
    ids = np.array(labels, dtype=np.int64)
    states, skip, score = label_states(ids, frames.shape[1], apart, follows)
    length = chunk_length(T, len(states))
    none = np.empty((0, 0), dtype=np.uint8)
    befores = [score]  # back-pointers of all frames may not fit: made by chunk, the last one first
    stop = stop or Stop()
    for t in range(0, T - length, length):
        stop.check()
        chunk = frames[t : t + length]
        befores.append(advance_scores(chunk, apart, states, skip, befores[-1], none))
    path = np.empty(T, dtype=np.int64)
    state = -1  # of the last frame; not known before its chunk
    for t in reversed(range(0, T, length)):
        stop.check()
        chunk = frames[t : t + length]
        came_by = np.zeros((len(chunk), len(states)), dtype=np.uint8)
        score = advance_scores(chunk, apart, states, skip, befores.pop(), came_by)
        if state < 0:
            state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
            if score[state] == -inf:
                return []
        state = trace_path(came_by, path[t : t + length], state)
    return list(zip(*read_spans(frames, apart, states, path, follows).tolist(), strict=True))


def highest(log_probs: NDArray[np.float32], spans: Sequence[Span]) -> list[float]:
    """The highest log-probability of each token of ``log_probs (T, V)`` within its span."""
    if not spans:
        return []
    from asr.decoding.recursions import highest_within

    frames = np.ascontiguousarray(log_probs, dtype=np.float32)
    found: list[float] = highest_within(frames, np.array(spans, dtype=np.int64)).tolist()
    return found


def gap_states(labels: Sequence[int], separator: int) -> NDArray[np.bool_]:
    """Which of the states, ``labels`` (S,) with a blank around each, a separator may be in as well.

    Those at the ends, and those after a separator: it is no part of the text there.
    """
    gaps = np.zeros(2 * len(labels) + 1, dtype=bool)
    gaps[[0, -1]] = True
    gaps[2::2] |= np.asarray(labels, dtype=np.int64) == separator
    return gaps


def chunk_length(frames: int, bytes_a_frame: int) -> int:
    """Frames in a chunk, of which a path's back-pointers take so many bytes.

    All that a megabyte holds; but at least so many that the scores before all chunks (8 bytes a
    state) need no more memory than the back-pointers of one (1 byte), and together least.
    """
    return max(16, isqrt(8 * frames), BACK_POINTERS // bytes_a_frame)


def hypothesis(
    log_probs: NDArray[np.float32],
    spans: Sequence[Span],
    score: float,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
) -> Hypothesis:
    """Put a hypothesis together from its spans in ``log_probs (T, V)``; see :func:`spelled`.

    A token's confidence is its highest probability within its span. The separator of words, if
    there is one, says no more than a blank.
    """
    blank = 0.0
    if not spans and len(log_probs):
        quiet = silence(log_probs, quiet_tokens(tokenizer))
        blank = running_sum(0.0, quiet) / len(log_probs)
    peaks = highest(log_probs, spans)
    return spelled(spans, peaks, blank, score, tokenizer, seconds_per_frame)


def quiet_tokens(tokenizer: Tokenizer) -> list[int]:
    """The tokens that say no more than a blank."""
    return [] if tokenizer.word_separator is None else [tokenizer.word_separator]


def running_sum(total: float, values: NDArray[np.floating]) -> float:
    """``total`` and all ``values (T,)``, added up one after the other in float64.

    So the sum over pieces is that over the whole, to the bit; numpy's own sum takes pairs.
    """
    terms = np.empty(1 + len(values))
    terms[0], terms[1:] = total, values
    return float(np.add.accumulate(terms)[-1])


def silence(log_probs: NDArray[np.float32], silences: Sequence[int]) -> NDArray[np.float32]:
    """Of each frame of ``log_probs (T, V)``, that of the blank, or of ``silences``, which say no
    more."""
    best: NDArray[np.float32] = log_probs[:, [BLANK_ID, *silences]].max(axis=1)
    return best


def spelled(
    spans: Sequence[tuple[int, float, float]],
    log_confidences: Sequence[float],
    blank: float,
    score: float,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
) -> Hypothesis:
    """Put a hypothesis together from its spans and the logarithm of the confidence in each.

    Spans are in frames, which need not be whole. The confidence in a word and in the whole is the
    geometric mean of its tokens', so that length does not lower it. A hypothesis without tokens is
    as sure as its blanks, whose mean log-probability is ``blank``.
    """
    tokens = timed_tokens(spans, log_confidences, tokenizer, seconds_per_frame)
    return Hypothesis(
        text=tokenizer.decode(k for k, _, _ in spans),
        score=score,
        confidence=_confidence(log_confidences or [blank]),
        tokens=tokens,
        words=tuple(_words(tokens, [k for k, _, _ in spans], tokenizer)),
    )


def timed_tokens(
    spans: Sequence[tuple[int, float, float]],
    log_confidences: Sequence[float],
    tokenizer: Tokenizer,
    seconds_per_frame: float,
) -> tuple[TimedToken, ...]:
    """The tokens of ``spans``, which are in frames, with the confidence in each."""
    names = tokenizer.tokens
    return tuple(
        [
            TimedToken(names[k], a * seconds_per_frame, b * seconds_per_frame, min(1.0, exp(x)))
            for (k, a, b), x in zip(spans, log_confidences, strict=True)
        ]
    )


def _words(tokens: Sequence[TimedToken], ids: Sequence[int], tokenizer: Tokenizer) -> list[Word]:
    """Group tokens by words; a vocabulary of phones has no words."""
    if tokenizer.kind == "phones":
        return []
    separator, marked = tokenizer.word_separator, tokenizer.kind == "subwords"
    edges = [
        i for i, k in enumerate(ids) if k == separator or (marked and tokenizer.starts_word(k))
    ]
    words = []
    for begin, end in pairwise([0, *edges, len(ids)]):
        if begin < end and ids[begin] == separator:
            begin += 1
        if begin < end:
            words.append(word_of(tokenizer.decode(ids[begin:end]), tokens[begin:end]))
    return words


def word_of(text: str, parts: Sequence[TimedToken]) -> Word:
    """A word said with these tokens, one or more."""
    logs = [log(max(part.confidence, LEAST_CONFIDENCE)) for part in parts]
    return Word(text, parts[0].start, parts[-1].end, _confidence(logs))


def _confidence(log_probs: Sequence[float]) -> float:
    return min(1.0, exp(fsum(log_probs) / len(log_probs)))
