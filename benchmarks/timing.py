"""Side by side, in turns: so that a machine's moods hit every contender alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from rich.console import Console

__all__ = ["compare", "markdown", "note"]

Run = Callable[[], object]
CONSOLE = Console(stderr=True)


def note(text: str) -> None:
    """Say on stderr what is being measured."""
    CONSOLE.print(text, style="dim", highlight=False)


def compare(
    contenders: Mapping[str, Run], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every round by contender, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            _wait(device)
            started = time.perf_counter()
            run()
            _wait(device)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def markdown(
    seconds: Mapping[str, list[float]], peer: str, scale: float = 1.0, unit: str = "ms"
) -> dict[str, tuple[str, str]]:
    """By contender, the median time and how many times as fast as ``peer`` it is.

    The ratio is the median of the rounds' own ratios.
    """
    cells = {}
    for name, times in seconds.items():
        ratio = statistics.median(p / t for p, t in zip(seconds[peer], times, strict=True))
        value = 1e3 * statistics.median(times) * scale
        digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
        cells[name] = f"{digits} {unit}", f"{ratio:.2f}"
    return cells
