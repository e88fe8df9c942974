"""What is measured of exactness, spikes, the error signal and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from asr.decoding.beam.decoder import prefix_beam_search
from asr.decoding.config import BeamOptions
from asr.decoding.spans import path_spans
from asr.scoring import ErrorCounts, align, token_errors
from asr.tokens import BLANK_ID
from recipes.lineage.ctc_exact import (
    Passes,
    collapse,
    enumerate_labellings,
    enumerate_occupancy,
    passes,
)
from recipes.lineage.ctc_speech import NO_LABEL, Spoken

__all__ = ["decoding", "exactness", "framewise", "spikes", "stages", "two_frames"]

Floats = NDArray[np.float64]
NEAR = 1  # frames by which a spike may miss its segment
MOST = 0.1  # of the frames, those with the greatest error
WIDER = (2, 4, 8, 16)  # times the beam, where it was too narrow


# (a) exactness


def exactness(cases: int) -> dict[str, Any]:
    """Greatest differences from enumeration, and from torch in float64, over random small cases.

    Every labelling that a case can spell is compared, and one that it cannot.
    """
    rng = np.random.default_rng(0)
    worst = dict.fromkeys(("probability", "occupancy", "loss_torch", "gradient_torch"), 0.0)
    compared = impossible = 0
    for _ in range(cases):
        T, V = int(rng.integers(1, 7)), int(rng.integers(2, 5))
        u = 3 * rng.standard_normal((T, V))
        log_y = u - np.logaddexp.reduce(u, axis=1, keepdims=True)
        found = enumerate_labellings(np.exp(log_y))
        for labels, probability in found.items():
            difference = abs(np.exp(passes(log_y, labels).log_probability) - probability)
            worst["probability"] = max(worst["probability"], float(difference))
        impossible += passes(log_y, (1,) * (T // 2 + 2)).log_probability == -np.inf
        compared += len(found)
        labels = list(found)[int(rng.integers(len(found)))]
        for name, difference in _differences(u, log_y, labels).items():
            worst[name] = max(worst[name], difference)
    return {"cases": cases, "labellings": compared, "impossible": impossible, "worst": worst}


def _differences(u: Floats, log_y: Floats, labels: tuple[int, ...]) -> dict[str, float]:
    exact = passes(log_y, labels)
    logits = torch.tensor(u, requires_grad=True)
    loss = F.ctc_loss(
        logits.log_softmax(-1),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(len(u)),
        torch.tensor(len(labels)),
        reduction="sum",
    )
    loss.backward()
    enumerated = enumerate_occupancy(np.exp(log_y), labels)
    return {
        "occupancy": float(np.abs(exact.occupancy - enumerated).max()),
        "loss_torch": abs(exact.log_probability + loss.item()),
        "gradient_torch": float(np.abs(exact.error_signal - logits.grad.numpy()).max()),
    }


# (b) spikes


def framewise(outputs: Sequence[Floats], spoken: Sequence[Spoken]) -> dict[str, float]:
    """Accuracy over frames, and how long one class stays the most probable."""
    right = total = 0
    for log_y, utterance in zip(outputs, spoken, strict=True):
        counts = utterance.frames.numpy() != NO_LABEL
        right += int((log_y.argmax(1) == utterance.frames.numpy())[counts].sum())
        total += int(counts.sum())
    return {"frame_accuracy": right / total, **_runs(outputs)}


def spikes(outputs: Sequence[Floats], spoken: Sequence[Spoken]) -> dict[str, float]:
    """How short spikes are and how near to their phone.

    A spike is a run of frames in which one label is the most probable; its place is its highest
    frame. It is right if the shortest edit path to the true labels keeps it.
    """
    right = near = count = 0
    for log_y, utterance in zip(outputs, spoken, strict=True):
        found = path_spans(log_y.argmax(1).tolist())
        labels = utterance.labels.tolist()
        count += len(found)
        for i, j in align(labels, [k for k, _, _ in found]):
            if i >= 0 and j >= 0 and found[j][0] == labels[i]:
                k, first, end = found[j]
                place = first + int(log_y[first:end, k].argmax())
                begin, stop = utterance.spans[i]
                right += 1
                near += bool(begin - NEAR <= place < stop + NEAR)
    return {
        "spikes": count,
        "right": right,
        "right_and_in_segment": near / max(1, right),
        **_runs(outputs),
    }


def _runs(outputs: Sequence[Floats]) -> dict[str, float]:
    """Share of frames whose most probable class is the blank, and frames in a run of another."""
    paths = [log_y.argmax(1) for log_y in outputs]
    runs = sum(k != BLANK_ID for path in paths for k, _ in groupby(path.tolist()))
    frames = sum(map(len, paths))
    blanks = sum(int((path == BLANK_ID).sum()) for path in paths)
    return {"blank_share": blanks / frames, "frames_per_run": (frames - blanks) / max(1, runs)}


# (c) the error signal


def stages(course: Sequence[Floats], utterance: Spoken) -> dict[str, Any]:
    """The error signal of one utterance, given ``log_y (T, V)`` before training and after epochs.

    "During" is after the first epoch whose best path has at least half as many labels as the
    utterance; were there none, after the last epoch.
    """
    labels = utterance.labels.tolist()
    both = [passes(log_y, labels) for log_y in course]
    spoken = [2 * len(collapse(log_y.argmax(1).tolist())) >= len(labels) for log_y in course]
    spoken[0] = False  # before training anything may be spoken
    during = spoken.index(True) if any(spoken) else len(course) - 1
    return {
        "epochs": {"before": 0, "during": during, "after": len(course) - 1},
        "norm": [float(np.linalg.norm(each.error_signal)) for each in both],
        "concentration": [concentration(each) for each in both],
    }


def concentration(both: Passes) -> float:
    """Share of the total |error| in the tenth of the frames with most; a tenth if all are alike."""
    by_frame = np.sort(np.abs(both.error_signal).sum(1))
    most = max(1, round(MOST * len(by_frame)))
    return float(by_frame[-most:].sum() / by_frame.sum())


# (d) decoding


def two_frames(blank: float) -> dict[str, float]:
    """Two frames with ``blank`` and one label "A": the best path is empty, but is "A" likelier?"""
    y = np.array([[blank, 1 - blank]] * 2)
    total = enumerate_labellings(y)
    best = tuple(y.argmax(1).tolist())
    [(found, score), *_] = prefix_beam_search(np.log(y), 4, -np.inf)
    return {
        "best_path": float(np.prod(y.max(1))),
        "best_path_labelling": total[collapse(best)],
        "A": total[(1,)],
        "prefix_search": float(np.exp(score)) if found == (1,) else float("nan"),
    }


def decoding(
    outputs: Sequence[Floats], spoken: Sequence[Spoken], beam_width: int
) -> dict[str, Any]:
    """Best path against prefix search: the labellings' exact probabilities and their errors.

    ``rescued_at`` has, for each utterance whose search ended in the less probable labelling, the
    first of wider beams that does not; None if none does.
    """
    errors = {"best_path": ErrorCounts(), "prefix_search": ErrorCounts()}
    gains, rescued_at = [], []
    for log_y, utterance in zip(outputs, spoken, strict=True):
        best = collapse(log_y.argmax(1).tolist())
        searched = _searched(log_y, beam_width)
        for name, labels in (("best_path", best), ("prefix_search", searched)):
            errors[name] += token_errors(utterance.labels.tolist(), labels)
        gains.append(_gain(log_y, best, searched))
        if gains[-1] < 0:
            wider = (beam_width * times for times in WIDER)
            good = (w for w in wider if _gain(log_y, best, _searched(log_y, w)) >= 0)
            rescued_at.append(next(good, None))
    return {
        "beam_width": beam_width,
        "gain_nats": gains,
        "more_probable": sum(gain > 0 for gain in gains),
        "less_probable": sum(gain < 0 for gain in gains),
        "rescued_at": rescued_at,
        "phone_error_rate": {name: counts.rate for name, counts in errors.items()},
    }


def _searched(log_y: Floats, beam_width: int) -> Sequence[int]:
    return prefix_beam_search(log_y, beam_width, BeamOptions().token_min_log_prob)[0][0]


def _gain(log_y: Floats, best: Sequence[int], searched: Sequence[int]) -> float:
    """How much more ln p the second labelling has."""
    if tuple(best) == tuple(searched):
        return 0.0
    first, second = (passes(log_y, labels).log_probability for labels in (best, searched))
    return second - first
