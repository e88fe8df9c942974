"""Live streams: errors by chunk and look-ahead, latencies by sessions: ``make bench-streaming``.

Prints the tables of ``docs/streaming.md`` and draws its figures. Recordings and their texts are
lines of a file, as ``asr calibrate`` takes them: an audio file, a tab, its text. Clients and server
share the machine, so have nothing else running.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio import read_audio, resample
from asr.bundle.streaming import LATENCIES
from asr.cli.segments import read_pairs
from asr.machine import describe_machine
from asr.nn.chunks import Chunking
from asr.recognizer import Recognizer
from asr.scoring import ErrorCounts, word_errors
from asr.types import Waveform
from benchmarks.serving import running_server
from benchmarks.speakers import Heard, Wishes, speak_all
from benchmarks.timing import note

BOUND_MS = 300.0  # that partials and finals are to keep, beyond the look-ahead
TOGETHER = 16  # utterances computed at once
SHARES = (50, 95, 99)


@dataclass(frozen=True)
class Utterance:
    """A recording at the model's rate, and what is said in it."""

    waveform: Waveform
    text: str


@dataclass(frozen=True)
class Point:
    """How a bundle reads by chunks; all times are milliseconds, ``chunk`` 0 stands for offline."""

    chunk: float
    look_ahead: float
    latency: float
    errors: ErrorCounts
    work: float  # seconds of computing for a second of audio


@dataclass(frozen=True)
class Load:
    """What a number of sessions saw, and what it cost the server."""

    heard: Heard
    processors: float  # in use, on average
    batch: float  # streams in one batch of chunks

    def beyond(self, share: float) -> float:
        """Milliseconds of interim results beyond the look-ahead."""
        return _percentile(self.heard.partials, share) - 1e3 * self.heard.look_ahead

    def finals(self, share: float) -> float:
        """Milliseconds from the end of audio to the last result."""
        return _percentile(self.heard.finals, share)

    @property
    def holds(self) -> bool:
        """Whether what is promised is kept."""
        return self.beyond(95) <= BOUND_MS and self.finals(95) <= BOUND_MS


def main() -> None:
    """Measure, print, draw."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    print(f"{describe_machine(torch.device('cpu'))}. {options.pairs}.\n")
    if not options.no_errors:
        points = {bundle: error_rates(bundle, options) for bundle in options.bundle}
        print_errors(points)
        if options.figures is not None:
            draw_errors(points, options.figures / "errors.png")
    if not options.no_load:
        loads = measure_loads(options.bundle[0], options)
        print_loads(loads)
        if options.figures is not None:
            draw_loads(loads, options.figures / "sessions.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.streaming")
    add = parser.add_argument
    add(
        "--bundle",
        nargs="+",
        default=["models/english"],
        help="bundles to compare; the first is served under load (default: models/english)",
    )
    add("--pairs", required=True, metavar="TSV", help="lines of an audio file, a tab and its text")
    add("--utterances", type=int, default=400, help="at most (default: %(default)s)")
    add(
        "--chunks",
        type=float,
        nargs="+",
        default=[240, 480, 960, 1280],
        metavar="MS",
        help="(default: %(default)s)",
    )
    add(
        "--look-aheads",
        type=float,
        nargs="+",
        default=[120, 240, 480, 600, 960, 1920],
        metavar="MS",
        help="(default: %(default)s)",
    )
    add(
        "--sessions",
        type=int,
        nargs="+",
        default=[1, 10, 20, 30, 40, 60, 80],
        help="live streams at a time (default: %(default)s)",
    )
    add("--seconds", type=float, default=60.0, help="of each load (default: %(default)s)")
    add("--decoder", default="", help="of the sessions: greedy or beam (default: the model's)")
    add("--latency", choices=LATENCIES, default="medium", help="of the sessions (default: medium)")
    add("--figures", type=Path, metavar="FOLDER", help="where pictures are written")
    add("--server-option", action="append", default=[], help="passed on, e.g. --search-threads=1")
    add("--no-errors", action="store_true", help="leave the error rates out")
    add("--no-load", action="store_true", help="leave the sessions out")
    return parser


def read_utterances(pairs: str, rate: int, most: int) -> list[Utterance]:
    """Evenly spaced over ``pairs``, at ``rate`` hertz."""
    segments = read_pairs(pairs)
    chosen = segments[:: max(1, len(segments) // most)][:most]
    return [
        Utterance(resample(read_audio(segment.audio), rate), segment.text) for segment in chosen
    ]


# Error rates


def error_rates(bundle: str, options: argparse.Namespace) -> list[Point]:
    """A bundle offline, and by every chunk and look-ahead."""
    whole = Recognizer.load(bundle, backend="torch")
    utterances = read_utterances(options.pairs, whole.sample_rate, options.utterances)
    note(f"{bundle} offline")
    points = [_point(whole, utterances, 0.0, 0.0)]
    for chunk in options.chunks:
        for look_ahead in options.look_aheads:
            note(f"{bundle} by {chunk:g} ms and {look_ahead:g} ms ahead")
            frame_ms = 1e3 * whole.seconds_per_frame
            frames = max(1, round(chunk / frame_ms)), round(look_ahead / frame_ms)
            by_chunks = Recognizer(whole.bundle, backend="torch", chunking=Chunking(*frames))
            latency = 1e3 * whole.streamer(Chunking(*frames)).latency
            point = _point(by_chunks, utterances, frames[0] * frame_ms, frames[1] * frame_ms)
            points.append(Point(point.chunk, point.look_ahead, latency, point.errors, point.work))
    return points


def _point(
    recognizer: Recognizer, utterances: Sequence[Utterance], chunk: float, look_ahead: float
) -> Point:
    errors, decoder, spent = ErrorCounts(), recognizer.decoder(), 0.0
    for start in range(0, len(utterances), TOGETHER):
        group = utterances[start : start + TOGETHER]
        begun = time.perf_counter()
        log_probs, lengths = recognizer.log_probs([each.waveform for each in group])
        spent += time.perf_counter() - begun
        for utterance, [best, *_] in zip(group, decoder.decode(log_probs, lengths), strict=True):
            errors += word_errors(utterance.text, best.text)
    audio = sum(each.waveform.duration for each in utterances)
    return Point(chunk, look_ahead, math.inf, errors, spent / audio)


def print_errors(points: Mapping[str, Sequence[Point]]) -> None:
    """A row for each bundle, chunk and look-ahead."""
    _row("bundle", "chunk ms", "look-ahead ms", "latency ms", "WER %", "work (offline 1)")
    _row(*["---"] * 6)
    for bundle, found in points.items():
        for point in found:
            times = ["whole", "whole", "–"]
            if point.chunk:
                values = (point.chunk, point.look_ahead, point.latency)
                times = [f"{value:.0f}" for value in values]
            work = point.work / found[0].work
            _row(Path(bundle).name, *times, f"{100 * point.errors.rate:.2f}", f"{work:.2f}")
    print(flush=True)


def draw_errors(points: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Error rate by latency: a panel a bundle, a line a chunk."""
    figure, panels = _figure(len(points))
    for axes, (bundle, found) in zip(panels, points.items(), strict=True):
        for chunk in sorted({point.chunk for point in found if point.chunk}):
            line = [point for point in found if point.chunk == chunk]
            x = [point.latency for point in line]
            y = [100 * point.errors.rate for point in line]
            axes.plot(x, y, marker="o", label=f"{chunk:.0f} ms")
        axes.axhline(100 * found[0].errors.rate, color="black", lw=0.8, ls="--", label="offline")
        axes.set(title=Path(bundle).name, xlabel="latency, ms", ylabel="word error rate, %")
        axes.legend(title="chunk")
        axes.grid(alpha=0.3)
    _save(figure, path)


# Sessions


def measure_loads(bundle: str, options: argparse.Namespace) -> dict[int, Load]:
    """Each number of sessions in turn, with a server of its own."""
    rate = Recognizer.load(bundle, backend="torch").sample_rate
    utterances = read_utterances(options.pairs, rate, options.utterances)
    spoken: list[NDArray[np.float32]] = [each.waveform.samples for each in utterances]
    wishes, loads = Wishes(options.decoder, options.latency), {}
    for sessions in options.sessions:
        note(f"{sessions} sessions")
        arguments = [f"--streams={sessions}", *options.server_option]
        with running_server(bundle, arguments) as server:
            asyncio.run(speak_all(server.address, spoken, rate, 1, 1.0, wishes))  # a slower one
            before, used = server.batches("asr_live_batch_size"), server.processor_seconds()
            begun = time.perf_counter()
            heard = asyncio.run(
                speak_all(server.address, spoken, rate, sessions, options.seconds, wishes)
            )
            used = (server.processor_seconds() - used) / (time.perf_counter() - begun)
            after = server.batches("asr_live_batch_size")
        streams, count = (now - then for now, then in zip(after, before, strict=True))
        loads[sessions] = Load(heard, used, streams / count if count else 0.0)
    return loads


def print_loads(loads: Mapping[int, Load]) -> None:
    """A row for each number of sessions, then what does not depend on it."""
    print(f"The look-ahead is {1e3 * next(iter(loads.values())).heard.look_ahead:.0f} ms.\n")
    heads = [f"partials p{share} ms" for share in SHARES] + [
        f"finals p{share} ms" for share in SHARES
    ]
    _row("sessions", *heads, "within the bound", "processors", "streams a batch", "refused")
    _row(*["---"] * (len(heads) + 5))
    for sessions, load in loads.items():
        cells = [f"{load.beyond(share):.0f}" for share in SHARES]
        cells += [f"{load.finals(share):.0f}" for share in SHARES]
        cells += ["yes" if load.holds else "no", f"{load.processors:.2f}", f"{load.batch:.1f}"]
        _row(str(sessions), *cells, str(load.heard.refused))
    kept = [sessions for sessions, load in loads.items() if load.holds]
    print(f"\nThe bound of {BOUND_MS:.0f} ms is kept with up to {max(kept, default=0)} sessions.")
    first = next(iter(loads.values())).heard
    words, changed = first.shown, first.changed
    print(
        f"Words shown before they were final: {words}, of which {changed} were changed "
        f"({100 * changed / max(1, words):.1f} %). Time to the first word: "
        f"{_percentile(first.first_words, 50):.0f} ms (median), "
        f"{_percentile(first.first_words, 95):.0f} ms (95 %). "
        f"Settled words taken back: {sum(load.heard.broken for load in loads.values())}."
    )


def draw_loads(loads: Mapping[int, Load], path: Path) -> None:
    """Latencies by sessions, and the bound."""
    figure, panels = _figure(2)
    for axes, title in zip(
        panels, ("interim results, beyond the look-ahead", "final results"), strict=True
    ):
        for share in SHARES:
            values = [
                load.beyond(share) if axes is panels[0] else load.finals(share)
                for load in loads.values()
            ]
            axes.plot(list(loads), values, marker="o", label=f"{share} %")
        axes.axhline(BOUND_MS, color="black", lw=0.8, ls="--")
        axes.set(title=title, xlabel="live sessions", ylabel="milliseconds", ylim=(0, None))
        axes.legend(title="of results below")
        axes.grid(alpha=0.3)
    _save(figure, path)


def _percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds."""
    return 1e3 * float(np.percentile(seconds, share)) if seconds else math.nan


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


def _figure(panels: int):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, panels, figsize=(4.5 * panels, 3.4), layout="constrained", squeeze=False
    )
    return figure, axes[0]


def _save(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
