"""How long one file waits for its text: `asr transcribe` in a process of its own, again and again.

    python -m benchmarks.starting                       # this checkout
    python -m benchmarks.starting --other ../before     # beside another one, in turns

It prints medians of wall time and of processor time, in seconds, for the model that ships with its
decoder (beam search with a language model) and with greedy decoding. What is kept (compiled code,
the language made ready) is kept from a first round, which is not counted. ``--fresh`` counts that
one alone: nothing is kept yet.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from asr.bundle.shipped import read_samples, shipped_bundle
from asr.machine import describe_machine

HERE = Path(__file__).parents[1]
WAYS = {"beam": [], "greedy": ["--decoder", "greedy"]}
RUN = "import sys; from asr.cli.main import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Time to the text of one file.")
    parser.add_argument("--other", type=Path, metavar="CHECKOUT", help="what to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--fresh", action="store_true", help="with nothing kept from before")
    options = parser.parse_args()
    places = [HERE] if options.other is None else [options.other.resolve(), HERE]
    rounds = 1 if options.fresh else 1 + options.rounds
    times: dict[tuple[Path, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for way in WAYS:
            for place in places:
                times.setdefault((place, way), []).append(_once(place, way, options.fresh))
    print(f"{describe_machine(torch.device('cpu'))}. Medians of {max(1, rounds - 1)} rounds.\n")
    print("| checkout | decoder | wall s | processor s |\n| --- | --- | --- | --- |")
    for (place, way), found in times.items():
        walls, processors = zip(*(found if options.fresh else found[1:]), strict=True)
        print(f"| {place.name} | {way} | {median(walls):.2f} | {median(processors):.2f} |")


def _once(place: Path, way: str, fresh: bool) -> tuple[float, float]:
    """Wall and processor seconds of one process in the checkout ``place``."""
    [sample, *_] = read_samples(shipped_bundle())
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if fresh else {})}
        before, begin = _processor_seconds(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", RUN, "transcribe", *WAYS[way], sample],
            cwd=place,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - begin, _processor_seconds() - before


def _processor_seconds() -> float:
    """Of all processes that were run and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
