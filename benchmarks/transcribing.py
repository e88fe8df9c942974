"""Many files by `asr transcribe`: a batch a core beside one batch on all cores, in turns.

    python -m benchmarks.transcribing                           # the model that ships, its samples
    python -m benchmarks.transcribing exp/demo/bundle FOLDER    # another one, and audio in a folder

Both transcribe the same files in one process, and the texts have to be equal. It prints seconds of
audio a second, and how much of the cores was used.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from asr.audio import OWN_RECORDINGS, Recording
from asr.backends import AUTO, BACKENDS
from asr.machine import describe_machine
from asr.recognizer import Recognizer
from asr.transcribe import transcribe_files
from asr.types import AsrError
from benchmarks.recordings import add_bundle_and_files, chosen_files

WAYS = {"one batch at a time": 1, "a batch a core": None}


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Transcribe many files in two ways.")
    add_bundle_and_files(parser)
    parser.add_argument("--seconds", type=float, default=600, help="audio (default: %(default)g)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--backend", choices=BACKENDS, default=AUTO, help="default: %(default)s")
    options = parser.parse_args()
    files, seconds = _as_much(chosen_files(options), options.seconds)
    recognizer = Recognizer.load(options.bundle, limits=OWN_RECORDINGS, backend=options.backend)
    times = _measure(recognizer, files, options.rounds)
    print(
        f"{describe_machine(torch.device('cpu'))}. {recognizer.name}, backend {recognizer.backend}."
    )
    print(f"{len(files)} files, {seconds:.0f} s. Medians of {options.rounds} rounds in turns.\n")
    print("| | times real time | files/s | cores used | ratio |\n| --- | --- | --- | --- | --- |")
    base = next(iter(times.values()))
    for way, rounds in times.items():
        wall = statistics.median(w for w, _ in rounds)
        used = statistics.median(p / w for w, p in rounds)
        ratio = statistics.median(b / w for (b, _), (w, _) in zip(base, rounds, strict=True))
        print(
            f"| {way} | {seconds / wall:.0f} | {len(files) / wall:.1f} | {used:.2f} | {ratio:.2f} |"
        )


def _as_much(files: Sequence[str], seconds: float) -> tuple[list[str], float]:
    """``files`` as often as makes that many ``seconds``, and the seconds that they are."""
    chosen: list[str] = []
    total = 0.0
    while total < seconds:
        for file in files:
            if total < seconds:
                chosen.append(file)
                total += Recording(file, OWN_RECORDINGS).info.duration
    return chosen, total


def _measure(
    recognizer: Recognizer, files: Sequence[str], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor seconds of every round by way, after one that is not counted."""
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    expected: dict[int, str] = {}
    for number in range(rounds + 1):
        for way, lanes in WAYS.items():
            wall, processor = time.perf_counter(), time.process_time()
            outcomes = dict(transcribe_files(recognizer, files, lanes=lanes))
            spent = time.perf_counter() - wall, time.process_time() - processor
            texts = {i: str(o) if isinstance(o, AsrError) else o.text for i, o in outcomes.items()}
            expected = expected or texts
            differing = sum(texts[index] != text for index, text in expected.items())
            if differing:
                print(f"{way}: {differing} of {len(files)} texts differ", flush=True)
            if number:
                times[way].append(spent)
    return times


if __name__ == "__main__":
    main()
