"""Spikes beside a framewise network's outputs, and how the error signal becomes one of spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asr.tokens import BLANK_ID
from recipes.lineage.ctc_exact import passes
from recipes.lineage.ctc_speech import FEATURES, Spoken

__all__ = ["Shown", "draw"]

Floats = NDArray[np.float64]
BLANK_STYLE = {"color": "0.45", "linestyle": "--", "linewidth": 0.9}
STAGES = ("before", "during", "after")


@dataclass(frozen=True)
class Shown:
    """What the figure shows of one seed.

    Attributes:
        held_out: an utterance of a speaker held out, and what both networks make of it: ln y
            ``(T, V)``.
        learnt: an utterance of the training part, and ln y of the network before training and
            after each epoch.
    """

    seed: int
    tokens: tuple[str, ...]
    held_out: Spoken
    framewise: Floats
    ctc: Floats
    learnt: Spoken
    course: list[Floats]


def draw(title: str, shown: Shown, by_seed: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure; ``by_seed`` are the numbers of each seed."""
    figure = Figure(figsize=(13, 17), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[6, 7.5, 3.5])
    edges = "phones as segmented by hand" if title == "TIMIT" else "where the tones change"
    top.suptitle(
        f"Outputs on {shown.held_out.id} ({title}, held out), seed {shown.seed}; "
        f"vertical lines: {edges}"
    )
    _draw_networks(top, shown)
    epochs = by_seed[shown.seed]["error_signal"]["epochs"]
    middle.suptitle(f"Outputs and error signal of CTC on {shown.learnt.id} (of the training part)")
    _draw_stages(middle, shown, epochs)
    bottom.suptitle("All seeds")
    _draw_seeds(bottom, by_seed)
    return figure


def _colours(spoken: Spoken) -> dict[int, str]:
    labels = dict.fromkeys(spoken.labels.tolist())
    return {label: f"C{number % 10}" for number, label in enumerate(labels)}


def _time(log_y: Floats) -> Floats:
    """Seconds at the middle of each frame."""
    middle = FEATURES.frame_span / 2 / FEATURES.sample_rate
    return np.arange(len(log_y)) * FEATURES.seconds_per_frame + middle


def _lines(axes: Axes, time: Floats, values: Floats, spoken: Spoken) -> None:
    """A line an output; those of labels that the utterance does not have are light."""
    colours = _colours(spoken)
    for k in range(values.shape[1]):
        if k == BLANK_ID:
            axes.plot(time, values[:, k], **BLANK_STYLE)
        elif k in colours:
            axes.plot(time, values[:, k], color=colours[k], linewidth=1.1)
        else:
            axes.plot(time, values[:, k], color="0.85", linewidth=0.6, zorder=0)
    axes.set_xlim(0.0, time[-1] + time[0])
    axes.spines[["top", "right"]].set_visible(False)


def _draw_networks(figure: Any, shown: Shown) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    spoken, time = shown.held_out, _time(shown.ctc)
    colours = _colours(spoken)
    edges = spoken.spans * FEATURES.seconds_per_frame + time[0] - FEATURES.seconds_per_frame / 2
    for axes, log_y, name in ((upper, shown.framewise, "framewise"), (lower, shown.ctc, "CTC")):
        _lines(axes, time, np.exp(log_y), spoken)
        axes.vlines(np.unique(edges), 0, 1.12, color="0.75", linewidth=0.6, zorder=0)
        for number, (label, (begin, end)) in enumerate(
            zip(spoken.labels.tolist(), edges.tolist(), strict=True)
        ):
            axes.text(
                (begin + end) / 2,
                1.03 + 0.08 * (number % 2),  # short phones stand close
                shown.tokens[label],
                color=colours[label],
                ha="center",
                fontsize=9,
            )
        axes.set_ylim(0.0, 1.18)
        axes.set_yticks([0, 0.5, 1])
        axes.set_ylabel(f"{name}: posterior")
    lower.plot([], [], **BLANK_STYLE, label="blank")
    lower.plot([], [], color="0.85", label="phones not in the utterance")
    lower.legend(loc="upper right", bbox_to_anchor=(1.0, -0.06), ncols=2, fontsize=8)
    lower.set_xlabel("time (s)")


def _draw_stages(figure: Any, shown: Shown, epochs: Mapping[str, int]) -> None:
    grid = figure.subplots(3, 2, sharex=True, sharey="col")
    labels = shown.learnt.labels.tolist()
    for (left, right), stage in zip(grid, STAGES, strict=True):
        log_y = shown.course[epochs[stage]]
        time = _time(log_y)
        _lines(left, time, np.exp(log_y), shown.learnt)
        _lines(right, time, -passes(log_y, labels).error_signal, shown.learnt)
        left.set_ylabel(f"{stage}\n(epoch {epochs[stage]})\nposterior")
        right.set_ylabel("occupancy − y")
        right.axhline(0.0, color="0.7", linewidth=0.5, zorder=0)
    grid[0, 0].set_title("outputs; blank dashed", fontsize=10)
    grid[0, 1].set_title("error signal, above 0: raises the output", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("time (s)")


def _draw_seeds(figure: Any, by_seed: Sequence[Mapping[str, Any]]) -> None:
    norm, focus, gain = figure.subplots(1, 3)
    for seed, numbers in enumerate(by_seed):
        signal, colour = numbers["error_signal"], f"C{seed}"
        marks = list(signal["epochs"].values())
        for axes, name in ((norm, "norm"), (focus, "concentration")):
            axes.plot(signal[name], color=colour, linewidth=1, label=f"seed {seed}")
            axes.plot(marks, [signal[name][m] for m in marks], "o", color=colour, markersize=4)
            axes.set_xlabel("epoch (dots: before, during, after)")
        gains = sorted(numbers["decoding"]["gain_nats"])
        gain.plot(gains, "o-", color=colour, markersize=3, linewidth=0.6)
    norm.set_yscale("log")
    norm.set_ylabel("norm of the error signal")
    norm.legend(fontsize=8)
    focus.set_ylabel("share of |error| in a tenth of the frames")
    focus.set_ylim(0.0, 1.0)
    gain.axhline(0.0, color="0.7", linewidth=0.5, zorder=0)
    gain.set_ylabel("ln p(prefix search) − ln p(best path)")
    gain.set_xlabel("held-out utterances, in order of the gain")
