"""Forced alignment: when each token of a known text was said.

The most probable path that spells the text (Viterbi, :func:`asr.decoding.spans.best_alignment`)
tells in which frames the model emits each token. A network trained by CTC emits a token in a spike
of a frame or two, somewhere within the sound, and blanks between: a spike is no boundary. So the
gap between two spikes is divided between their tokens, and all boundaries move by a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lexicon import Labels, Lexicon
from asr.decoding.spans import Span, best_alignment, highest, silence, spelled, word_of
from asr.decoding.stopping import Stop
from asr.tokens import BLANK_ID, Tokenizer, min_frames
from asr.types import AlignmentError, ConfigError, Hypothesis, TokenError

__all__ = ["SPIKES", "AlignConfig", "align"]

LEAST = 0.25  # frames of its spike that a token keeps
EARLY = 0.009  # seconds by which spikes are early in their sounds
FEW = 5  # words that a message names


@dataclass(frozen=True)
class AlignConfig:
    """How boundaries come from spikes.

    The defaults were chosen on the development speakers of TIMIT's free sample, with 20 ms frames
    (``recipes/timit/RESULTS.md``).

    Attributes:
        earlier_share: of the gap between two spikes, what goes to the earlier token; 0.5 puts the
            boundary at the midpoint.
        shift: seconds by which all boundaries move later; None: by the frames' lag, for a frame's
            audio is not centred in the time that it stands for, and :data:`EARLY` more.
        max_stretch: seconds that a token reaches beyond its spike at most, so that a pause belongs
            to nobody.
    """

    earlier_share: float = 0.6
    shift: float | None = None
    max_stretch: float = 0.25

    def __post_init__(self) -> None:
        if not 0.0 <= self.earlier_share <= 1.0:
            raise ConfigError(
                f"earlier_share is {self.earlier_share!r}", remedy="give a share from 0 to 1"
            )
        if self.shift is not None and not -1.0 <= self.shift <= 1.0:
            raise ConfigError(f"shift is {self.shift!r}", remedy="give -1 to 1 s, or None")
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
    frame_lag: float = 0.0,
) -> Hypothesis:
    """Align ``text`` with ``log_probs (T, V)``; runs of white space count as one space.

    ``frame_lag`` is the seconds from a frame's middle to the centre of the audio that it is made
    of: see :attr:`asr.recognizer.Recognizer.frame_lag`.

    The score is the log-probability of the best path. A token's confidence is the highest
    probability within its spike, as in decoding; it is low where the token was not said.

    A model of phones takes words if it is given a ``lexicon`` that has them, in any case; of the
    pronunciations of a word the one is found that was said. A text of phones is taken for phones,
    unless all of it are words as well.

    Raises:
        TokenError: the text has symbols outside the vocabulary, and words outside the lexicon.
        AlignmentError: no text, fewer frames than it needs, or no path that is possible.
    """
    edges = _Edges(config or AlignConfig(), len(log_probs), seconds_per_frame, frame_lag)
    if lexicon is not None and tokenizer.kind == "phones" and text.split():
        words = [_known(word, lexicon) for word in text.split()]
        if tokenizer.unknown(text) or all(words):
            return _align_words(log_probs, text.split(), words, lexicon, tokenizer, edges)
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
    score = _path_score(log_probs, [spikes])
    if len(spikes) < len(labels) or not np.isfinite(score):  # where no path is possible
        raise _no_path()
    return spelled(
        edges.of(spikes),
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
    edges: _Edges,
) -> Hypothesis:
    """As :func:`align`; ``words`` are the lexicon's that are ``written`` so, None for no such."""
    from asr.decoding.beam.word_paths import best_word_path  # with the compiler

    pairs = zip(written, words, strict=True)
    if lost := list(dict.fromkeys(text for text, word in pairs if word is None)):
        raise TokenError(
            f"words that the lexicon lacks: {', '.join(map(repr, lost[:FEW]))}"
            + (", …" if len(lost) > FEW else ""),
            remedy="give their pronunciations in a lexicon, or the text in the model's phones",
        )
    ways = [lexicon.pronunciations[word] for word in words if word is not None]
    needed = _least_frames(ways)
    _check_frames(needed, len(log_probs), edges.seconds_per_frame)
    said = best_word_path(
        log_probs, ways, lexicon.between, separated=lexicon.separator is not None, stop=Stop()
    )
    spikes = [(k, a, b) for k, a, b, _ in said]
    owned: list[list[int]] = [[] for _ in ways]  # numbers of the tokens of each word
    for number, each in enumerate(said):
        if each.word >= 0:  # no separator
            owned[each.word].append(number)
    spans = [[spikes[number] for number in numbers] for numbers in owned]
    spelled_so = (
        tuple(k for k, _, _ in own) in each for own, each in zip(spans, ways, strict=True)
    )
    score = _path_score(log_probs, spans, lexicon.between)
    if not all(spelled_so) or not np.isfinite(score):  # where no path is possible
        raise _no_path()
    aligned = spelled(
        edges.of(spikes),
        highest(log_probs, spikes),
        0.0,
        score,
        tokenizer,
        edges.seconds_per_frame,
    )
    words_said = [
        word_of(text, [aligned.tokens[number] for number in numbers])
        for text, numbers in zip(written, owned, strict=True)
    ]
    return replace(aligned, text=" ".join(written), words=tuple(words_said))


def _least_frames(words: Sequence[Sequence[Labels]]) -> int:
    """The fewest frames that say each word in one of its ways: equal neighbours need a blank."""
    least = {BLANK_ID: 0}  # by the last token said
    for ways in words:
        found: dict[int, int] = {}
        for way in ways:
            own = min_frames(way)
            best = min(count + own + (last == way[0]) for last, count in least.items())
            found[way[-1]] = min(best, found.get(way[-1], best))
        least = found
    return min(least.values())


def _known(word: str, lexicon: Lexicon) -> str | None:
    """``word`` as the lexicon has it: as it is written, or in upper or lower case."""
    forms = (word, word.upper(), word.lower())
    return next((form for form in forms if lexicon.pronunciations.get(form)), None)


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


def _path_score(
    log_probs: NDArray[np.float32], words: Sequence[Sequence[Span]], silences: Sequence[int] = ()
) -> float:
    """Of the path that says ``words``, with blanks within them and blanks or silences around."""
    values = silence(log_probs, silences)  # (T,)
    for spans in filter(None, words):
        within = slice(spans[0][1], spans[-1][2])
        values[within] = log_probs[within, BLANK_ID]
        for k, start, end in spans:
            values[start:end] = log_probs[start:end, k]
    return float(values.sum(dtype=np.float64))


@dataclass(frozen=True)
class _Edges:
    """Finds where tokens begin and end in so many frames."""

    config: AlignConfig
    frames: int
    seconds_per_frame: float
    frame_lag: float

    def of(self, spikes: Sequence[Span]) -> list[tuple[int, float, float]]:
        """Tokens with their boundaries in frames, in order, none empty and none over another."""
        config = self.config
        stretch = config.max_stretch / self.seconds_per_frame
        shift = self.frame_lag + EARLY if config.shift is None else config.shift
        shift /= self.seconds_per_frame
        starts, ends = [float(spikes[0][1])], []
        for (_, _, left), (_, right, _) in pairwise(spikes):
            boundary = left + config.earlier_share * (right - left)
            ends.append(min(boundary, left + stretch))
            starts.append(max(boundary, right - stretch))
        ends.append(float(spikes[-1][2]))
        begun = []
        least = 0.0  # a boundary that moves earlier leaves the token before a part of its spike
        for start, (_, first, last) in zip(starts, spikes, strict=True):
            begun.append(max(least, min(start + shift, last - LEAST)))
            least = max(begun[-1], first) + LEAST
        limits = [*begun[1:], float(self.frames)]
        return [
            (k, start, min(max(end + shift, max(start, first) + LEAST), limit))
            for (k, first, _), start, end, limit in zip(spikes, begun, ends, limits, strict=True)
        ]
