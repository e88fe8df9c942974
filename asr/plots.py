"""Pictures: one utterance and what a model makes of it, and what tuning found."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asr.files.write import check_writable, replace_file
from asr.scoring import ReliabilityBin, calibration_error
from asr.types import ConfigError, Hypothesis, Waveform

__all__ = [
    "check_picture_path",
    "draw_curves",
    "draw_reliability",
    "draw_seeds",
    "draw_surface",
    "draw_utterance",
    "save_picture",
]

BLANK_COLOUR = "0.6"
INCHES_PER_SECOND = 4.0
MIN_WIDTH, MAX_WIDTH = 8.0, 60.0  # inches
ENVELOPE_POINTS = 4000  # of the waveform; more than that many cannot be told apart
SPECTROGRAM_WINDOW_MS = 20.0
MAX_SPECTROGRAM_COLUMNS = 4000
DYNAMIC_RANGE_DB = 80.0


def check_picture_path(path: str | os.PathLike[str]) -> None:
    """Refuse early what :func:`save_picture` could not write.

    Raises:
        ConfigError: the suffix is not .png, or there is no folder that can be written to.
    """
    place = Path(path)
    if place.suffix.lower() != ".png":
        raise ConfigError("pictures are PNG", where=str(path), remedy="give a name ending in .png")
    if not place.absolute().parent.is_dir():
        raise ConfigError("no such folder", where=str(place.parent), remedy="make it first")
    check_writable(path)


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write ``figure`` as PNG.

    Raises:
        ConfigError: see :func:`check_picture_path`.
    """
    check_picture_path(path)
    with warnings.catch_warnings():
        # A script that the font lacks shows as boxes; the rest of the picture still serves.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasAgg(figure)
        with replace_file(path) as stream:
            figure.savefig(stream, format="png")


def draw_utterance(
    waveform: Waveform,
    log_probs: NDArray[np.float32],
    tokens: Sequence[str],
    hypothesis: Hypothesis,
    seconds_per_frame: float,
    *,
    title: str = "",
) -> Figure:
    """Waveform, spectrogram, posteriors with their spikes, and decoded tokens over one time axis.

    The posteriors are drawn as in Graves et al. (2006), Figure 1: the blank in grey, and in colour
    each token that is decoded.

    Args:
        log_probs: ``(T, V)``, natural logarithms; token 0 is the blank.
        tokens: the V tokens' names.
    """
    width = float(np.clip(INCHES_PER_SECOND * waveform.duration, MIN_WIDTH, MAX_WIDTH))
    figure = Figure(figsize=(width, 8.0), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": [1, 2, 2, 0.7]})
    figure.suptitle(title or hypothesis.text, parse_math=False)
    _draw_waveform(axes[0], waveform)
    _draw_spectrogram(axes[1], waveform)
    colours = _draw_posteriors(axes[2], log_probs, tokens, hypothesis, seconds_per_frame)
    _draw_tokens(axes[3], hypothesis, colours)
    axes[3].set_xlim(0.0, max(waveform.duration, seconds_per_frame))
    axes[3].set_xlabel("time (s)")
    return figure


def _draw_waveform(axes: Any, waveform: Waveform) -> None:
    """The highest and lowest sample of each short stretch, which Agg can draw at any length."""
    samples = waveform.samples
    stretch = max(1, len(samples) // ENVELOPE_POINTS)
    starts = np.arange(0, len(samples), stretch)
    time = starts / waveform.sample_rate
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    axes.fill_between(time, low, high, linewidth=0.5, color="C0")
    axes.set_ylabel("amplitude")


def _draw_spectrogram(axes: Any, waveform: Waveform) -> None:
    decibels = _spectrogram(waveform)  # (frequencies, columns)
    axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=decibels.max() - DYNAMIC_RANGE_DB,
        vmax=max(decibels.max(), decibels.max() - DYNAMIC_RANGE_DB + 1),
        extent=(0.0, waveform.duration, 0.0, waveform.sample_rate / 2000),
    )
    axes.set_ylabel("frequency (kHz)")


def _spectrogram(waveform: Waveform) -> NDArray[np.float32]:
    """Power in decibels, ``(frequencies, columns)``, of Hann windows."""
    size = max(2, round(SPECTROGRAM_WINDOW_MS / 1000 * waveform.sample_rate))
    samples = np.pad(waveform.samples, (0, max(0, size - len(waveform.samples))))
    step = max(size // 2, -(-len(samples) // MAX_SPECTROGRAM_COLUMNS))
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::step]
    power = np.abs(np.fft.rfft(windows * np.hanning(size).astype(np.float32), axis=1)) ** 2
    decibels: NDArray[np.float32] = (10 * np.log10(power + 1e-10)).T.astype(np.float32)
    return decibels


def _draw_posteriors(
    axes: Any,
    log_probs: NDArray[np.float32],
    tokens: Sequence[str],
    hypothesis: Hypothesis,
    seconds_per_frame: float,
) -> dict[str, str]:
    """Draw a line a token and mark each spike with its name; returns the colours used."""
    posteriors = np.exp(log_probs)  # (T, V)
    time = (np.arange(len(posteriors)) + 0.5) * seconds_per_frame  # middles of the frames
    axes.plot(time, posteriors[:, 0], "--", color=BLANK_COLOUR, linewidth=1.0, label=tokens[0])
    column = {token: index for index, token in enumerate(tokens)}
    shown = dict.fromkeys(timed.token for timed in hypothesis.tokens)
    colours = {token: f"C{index % 10}" for index, token in enumerate(shown)}
    for token, colour in colours.items():
        if token in column:
            axes.plot(time, posteriors[:, column[token]], color=colour, linewidth=1.2)
    for timed in hypothesis.tokens:
        if timed.token in column:
            frame = _peak(posteriors[:, column[timed.token]], timed.start, timed.end, time)
            axes.annotate(
                _label(timed.token),
                (time[frame], posteriors[frame, column[timed.token]]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colours[timed.token],
                parse_math=False,
            )
    axes.set_ylim(0.0, 1.12)
    axes.set_ylabel("posterior")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, fontsize=8)
    return colours


def _label(token: str) -> str:
    """A token as short as it can be drawn: an open box for the space."""
    return "\u2423" if token == "<space>" else token


def _peak(posterior: NDArray[np.float32], start: float, end: float, time: NDArray[Any]) -> int:
    """The frame of the highest posterior between ``start`` and ``end`` (seconds)."""
    first = min(int(np.searchsorted(time, start)), len(time) - 1)
    last = max(int(np.searchsorted(time, end)), first + 1)
    return first + int(posterior[first:last].argmax())


def _draw_tokens(axes: Any, hypothesis: Hypothesis, colours: dict[str, str]) -> None:
    """Each token from its start to its end, the darker the surer, and the text below."""
    for timed in hypothesis.tokens:
        axes.axvspan(
            timed.start,
            max(timed.end, timed.start + 1e-3),
            color=colours[timed.token],
            alpha=0.15 + 0.6 * min(max(timed.confidence, 0.0), 1.0),
            linewidth=0,
        )
        middle = (timed.start + timed.end) / 2
        axes.text(
            middle, 0.7, _label(timed.token), ha="center", va="center", fontsize=8, parse_math=False
        )
    for word in hypothesis.words:
        middle = (word.start + word.end) / 2
        axes.text(middle, 0.25, word.text, ha="center", va="center", clip_on=True, parse_math=False)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    axes.set_ylabel("tokens")


def draw_curves(rows: Sequence[Mapping[str, float]]) -> Figure:
    """A training run over its steps: losses, error rates, learning rate.

    Args:
        rows: each has its ``step``, and of ``train_loss``, ``dev_loss``, ``dev_error_rate``,
            ``dev_token_error_rate`` (fractions) and ``learning_rate`` what there is. Error rates
            that are those of tokens, as of phones, are drawn once.
    """
    rates = {"dev_error_rate": "errors", "dev_token_error_rate": "tokens"}
    if all(len({row.get(column) for column in rates}) == 1 for row in rows):
        rates = {"dev_error_rate": ""}
    panels: dict[str, tuple[float, dict[str, str]]] = {  # label: factor, names in the legend
        "loss": (1.0, {"train_loss": "training", "dev_loss": "development"}),
        "error rate (%)": (100.0, rates),
        "learning rate": (1.0, {"learning_rate": ""}),
    }
    figure = Figure(figsize=(8.0, 8.0), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [2, 2, 1]})
    for place, (label, (factor, names)) in zip(axes, panels.items(), strict=True):
        for column, name in names.items():
            points = [(row["step"], factor * row[column]) for row in rows if column in row]
            if points:
                place.plot(*zip(*points, strict=True), ".-", linewidth=1.0, label=name)
        place.set_ylabel(label)
        place.grid(alpha=0.3)
        if place.get_legend_handles_labels()[1]:
            place.legend()
    axes[-1].set_xlabel("steps")
    return figure


def draw_seeds(curves: Mapping[str, Sequence[Mapping[str, float]]], *, title: str = "") -> Figure:
    """The same training several times: losses and error rates over the epochs, and their means.

    Args:
        curves: for each run the rows of :func:`draw_curves`, with their ``epoch``.
    """
    panels = {"dev_error_rate": ("error rate (%)", 100.0), "dev_loss": ("loss", 1.0)}
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    figure.suptitle(title, parse_math=False)
    axes = figure.subplots(2, 1, sharex=True)
    for place, (column, (label, factor)) in zip(axes, panels.items(), strict=True):
        values: dict[float, list[float]] = {}
        for name, rows in curves.items():
            points = [(row["epoch"], factor * row[column]) for row in rows if column in row]
            for epoch, value in points:
                values.setdefault(epoch, []).append(value)
            if points:
                place.plot(*zip(*points, strict=True), linewidth=0.8, label=name)
        # Where one run has ended earlier, a mean of the others would jump.
        mean = [(e, sum(v) / len(v)) for e, v in sorted(values.items()) if len(v) == len(curves)]
        if mean and len(curves) > 1:
            place.plot(*zip(*mean, strict=True), "k", linewidth=1.8, label="mean")
        place.set_ylabel(f"development {label}")
        place.grid(alpha=0.3)
        if place.get_legend_handles_labels()[1]:
            place.legend()
    axes[-1].set_xlabel("epochs")
    return figure


def draw_surface(
    lm_weights: Sequence[float], word_scores: Sequence[float], rates: Sequence[float]
) -> Figure:
    """The error rate over the language model's weight and the word score, the best marked.

    ``rates`` are fractions, those of the first weight first.
    """
    surface = 100.0 * np.array(rates).reshape(len(lm_weights), len(word_scores)).T
    figure = Figure(figsize=(1.5 + 0.7 * len(lm_weights), 1.5 + 0.5 * len(word_scores)))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    image = axes.imshow(surface, origin="lower", aspect="auto", cmap="viridis_r")
    figure.colorbar(image, label="error rate, %")
    axes.set_xticks(range(len(lm_weights)), [f"{weight:g}" for weight in lm_weights])
    axes.set_yticks(range(len(word_scores)), [f"{score:g}" for score in word_scores])
    axes.set_xlabel("weight of the language model")
    axes.set_ylabel("score added for a word")
    middle = (surface.min() + surface.max()) / 2
    for (row, column), rate in np.ndenumerate(surface):
        best = rate == surface.min()
        axes.text(
            column,
            row,
            f"{rate:.1f}",
            ha="center",
            va="center",
            color="white" if rate > middle else "black",
            fontweight="bold" if best else "normal",
        )
    return figure


def draw_reliability(bins: Mapping[str, Sequence[ReliabilityBin]]) -> Figure:
    """Draw the share of words that are right over their confidence, a line a name.

    The diagonal is where the two are the same. Bars are the 95 % intervals of the shares; the
    legend has the calibration error over these bins.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=BLANK_COLOUR, linestyle=":")
    for name, each in bins.items():
        full = [b for b in each if b.count]
        x, y = [b.confidence for b in full], [b.accuracy for b in full]
        below = [max(0.0, b.accuracy - b.interval[0]) for b in full]
        above = [max(0.0, b.interval[1] - b.accuracy) for b in full]
        label = f"{name}: {sum(b.count for b in full)} words, ECE {calibration_error(full):.3f}"
        axes.errorbar(x, y, (below, above), label=label, fmt="o-", markersize=4, capsize=2)
    axes.set(xlabel="confidence", ylabel="share of words that are right")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.legend(loc="upper left")
    return figure
