"""Forced alignment: when each token of a known text was said.

The most probable path that spells the text (Viterbi, :func:`asr.decoding.spans.best_alignment`)
tells in which frames the model emits each token. A network trained by CTC emits a token in a spike
of a frame or two, somewhere within the sound, and blanks between: a spike is no boundary. So the
gap between two spikes is divided between their tokens, and all boundaries move by a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lexicon import Lexicon
from asr.decoding.spans import Span, best_alignment, spelled, word_of
from asr.decoding.spoken import best_spoken
from asr.tokens import Tokenizer, min_frames
from asr.types import AlignmentError, ConfigError, Hypothesis, TokenError

__all__ = ["SPIKES", "AlignConfig", "align"]

LEAST = 0.25  # frames of its spike that a token keeps
FEW = 5  # words that a message names


@dataclass(frozen=True)
class AlignConfig:
    """How boundaries come from spikes.

    The defaults were chosen on the development speakers of TIMIT's free sample, with 20 ms frames
    (``recipes/timit/RESULTS.md``). The shift is so large because a frame's window reaches beyond
    its step, and because spikes come early in their sounds.

    Attributes:
        earlier_share: of the gap between two spikes, what goes to the earlier token; 0.5 puts the
            boundary at the midpoint.
        shift: frames by which all boundaries move later.
        max_stretch: seconds that a token reaches beyond its spike at most, so that a pause belongs
            to nobody.
    """

    earlier_share: float = 0.6
    shift: float = 1.0
    max_stretch: float = 0.25

    def __post_init__(self) -> None:
        if not 0.0 <= self.earlier_share <= 1.0:
            raise ConfigError(
                f"earlier_share is {self.earlier_share!r}", remedy="give a share from 0 to 1"
            )
        if not 0.0 <= self.shift <= 10.0:
            raise ConfigError(f"shift is {self.shift!r}", remedy="give 0 to 10 frames")
        if not 0.0 <= self.max_stretch < float("inf"):
            raise ConfigError(
                f"max_stretch is {self.max_stretch!r}", remedy="give seconds, 0 or more"
            )


SPIKES = AlignConfig(shift=0.0, max_stretch=0.0)


def align(
    log_probs: NDArray[np.float32],
    text: str,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    config: AlignConfig | None = None,
    lexicon: Lexicon | None = None,
) -> Hypothesis:
    """Align ``text`` with ``log_probs (T, V)``; runs of white space count as one space.

    The score is the log-probability of the best path. A token's confidence is the highest
    probability within its spike, as in decoding; it is low where the token was not said.

    A model of phones takes words if it is given a ``lexicon`` that has them, in any case; of the
    pronunciations of a word the one is found that was said. A text that has other words is taken
    for phones.

    Raises:
        TokenError: the text has symbols outside the vocabulary, and words outside the lexicon.
        AlignmentError: no text, fewer frames than it needs, or no path that is possible.
    """
    if lexicon is not None and tokenizer.kind == "phones" and text.split():
        words = [_known(word, lexicon) for word in text.split()]
        if tokenizer.unknown(text) or all(words):
            return _align_words(
                log_probs, text.split(), words, lexicon, tokenizer, seconds_per_frame, config
            )
    elif tokenizer.kind == "phones" and (unknown := tokenizer.unknown(text)):
        raise TokenError(
            f"the model writes phones, and {unknown[0]!r} is none",
            remedy="give the text in the model's phones, or a lexicon with the pronunciations",
        )
    labels = tokenizer.encode(" ".join(text.split()))
    if not labels:
        raise AlignmentError("there is no text to align", remedy="give the text that is said")
    _check_frames(min_frames(labels), len(log_probs), seconds_per_frame)
    spikes = best_alignment(log_probs, labels)
    score = _path_score(log_probs, spikes)
    if len(spikes) < len(labels) or not np.isfinite(score):  # where no path is possible
        raise _no_path()
    return spelled(
        list(_stretched(spikes, len(log_probs), seconds_per_frame, config or AlignConfig())),
        [float(log_probs[a:b, k].max()) for k, a, b in spikes],
        0.0,
        score,
        tokenizer,
        seconds_per_frame,
    )


def _align_words(
    log_probs: NDArray[np.float32],
    written: Sequence[str],
    words: Sequence[str | None],
    lexicon: Lexicon,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    config: AlignConfig | None,
) -> Hypothesis:
    """As :func:`align`; ``words`` are the lexicon's that are ``written`` so, None for no such."""
    pairs = zip(written, words, strict=True)
    if lost := list(dict.fromkeys(text for text, word in pairs if word is None)):
        raise TokenError(
            f"words that the lexicon lacks: {', '.join(map(repr, lost[:FEW]))}"
            + (", …" if len(lost) > FEW else ""),
            remedy="give their pronunciations in a lexicon, or the text in the model's phones",
        )
    ways = [lexicon.pronunciations[word] for word in words if word is not None]
    needed = sum(min(map(min_frames, each)) for each in ways)
    _check_frames(needed, len(log_probs), seconds_per_frame)
    found = best_spoken(log_probs, ways, lexicon.silences)
    if found is None:
        raise _no_path()
    spikes = [span for spans in found.words for span in spans]
    aligned = spelled(
        list(_stretched(spikes, len(log_probs), seconds_per_frame, config or AlignConfig())),
        [float(log_probs[a:b, k].max()) for k, a, b in spikes],
        0.0,
        found.score,
        tokenizer,
        seconds_per_frame,
    )
    tokens = iter(aligned.tokens)
    said = [
        word_of(text, tuple(islice(tokens, len(spans))))
        for text, spans in zip(written, found.words, strict=True)
    ]
    return replace(aligned, text=" ".join(written), words=tuple(said))


def _known(word: str, lexicon: Lexicon) -> str | None:
    """``word`` as the lexicon has it: as it is written, or in upper or lower case."""
    forms = (word, word.upper(), word.lower())
    return next((form for form in forms if form in lexicon.pronunciations), None)


def _check_frames(needed: int, frames: int, seconds_per_frame: float) -> None:
    if needed > frames:
        raise AlignmentError(
            f"the text needs {needed} frames, {needed * seconds_per_frame:.2f} s, and the audio "
            f"has {frames}",
            remedy="check that text and audio belong together",
        )


def _no_path() -> AlignmentError:
    return AlignmentError(
        "the model's output leaves no possible path for the text",
        remedy="check that text and audio belong together, and the audio for damage",
    )


def _path_score(log_probs: NDArray[np.float32], spikes: Sequence[Span]) -> float:
    path = np.zeros(len(log_probs), dtype=np.int64)  # blanks
    for k, start, end in spikes:
        path[start:end] = k
    return float(log_probs[np.arange(len(path)), path].sum(dtype=np.float64))


def _stretched(
    spikes: Sequence[Span], frames: int, seconds_per_frame: float, config: AlignConfig
) -> Iterator[tuple[int, float, float]]:
    """Tokens with their boundaries in frames, in order, none empty and none over another."""
    stretch = config.max_stretch / seconds_per_frame
    starts, ends = [float(spikes[0][1])], []
    for (_, _, left), (_, right, _) in pairwise(spikes):
        boundary = left + config.earlier_share * (right - left)
        ends.append(min(boundary, left + stretch))
        starts.append(max(boundary, right - stretch))
    ends.append(float(spikes[-1][2]))
    starts = [min(t + config.shift, b - LEAST) for t, (_, _, b) in zip(starts, spikes, strict=True)]
    limits = [*starts[1:], float(frames)]
    for (k, _, _), start, end, limit in zip(spikes, starts, ends, limits, strict=True):
        yield k, start, min(end + config.shift, limit)
