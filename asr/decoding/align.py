"""Forced alignment: when each token of a known text was said.

The most probable path that spells the text (Viterbi, :func:`asr.decoding.spans.best_alignment`)
tells in which frames the model emits each token. A network trained by CTC emits a token in a spike
of a frame or two, somewhere within the sound, and blanks between: a spike is no boundary. So the
gap between two spikes is divided between their tokens, and all boundaries move by a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr.decoding.spans import Span, best_alignment, spelled
from asr.tokens import Tokenizer, min_frames
from asr.types import AlignmentError, ConfigError, Hypothesis

__all__ = ["SPIKES", "AlignConfig", "align"]

LEAST = 0.25  # frames of its spike that a token keeps


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
) -> Hypothesis:
    """Align ``text`` with ``log_probs (T, V)``; runs of white space count as one space.

    The score is the log-probability of the best path. A token's confidence is the highest
    probability within its spike, as in decoding; it is low where the token was not said.

    Raises:
        TokenError: the text has symbols outside the vocabulary.
        AlignmentError: no text, fewer frames than it needs, or no path that is possible.
    """
    labels = tokenizer.encode(" ".join(text.split()))
    if not labels:
        raise AlignmentError("there is no text to align", remedy="give the text that is said")
    if (needed := min_frames(labels)) > len(log_probs):
        raise AlignmentError(
            f"the text needs {needed} frames, {needed * seconds_per_frame:.2f} s, and the audio "
            f"has {len(log_probs)}",
            remedy="check that text and audio belong together",
        )
    spikes = best_alignment(log_probs, labels)
    score = _path_score(log_probs, spikes)
    if len(spikes) < len(labels) or not np.isfinite(score):  # where no path is possible
        raise AlignmentError(
            "the model's output leaves no possible path for the text",
            remedy="check that text and audio belong together, and the audio for damage",
        )
    return spelled(
        list(_stretched(spikes, len(log_probs), seconds_per_frame, config or AlignConfig())),
        [float(log_probs[a:b, k].max()) for k, a, b in spikes],
        0.0,
        score,
        tokenizer,
        seconds_per_frame,
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
