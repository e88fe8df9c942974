"""Text while someone speaks by computing the audio so far again and again, instead of by chunks.

``python -m benchmarks.recomputing --pairs TSV`` prints what ``docs/streaming.md`` says of it: work
beside computing each recording once, and how many of the words that are shown are not final.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from asr.machine import describe_machine
from asr.recognizer import Recognizer
from asr.types import Waveform
from benchmarks.streaming import read_utterances


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    recognizer = Recognizer.load(options.bundle)
    decoder, rate = recognizer.decoder(), recognizer.sample_rate
    step = round(options.every / 1000 * rate)

    def words(samples: NDArray[np.float32]) -> list[str]:
        return recognizer.recognize([Waveform(samples, rate)], decoder)[0].text.split()

    work = total = shown = wrong = 0
    for utterance in read_utterances(options.pairs, rate, options.utterances):
        samples = utterance.waveform.samples
        ends = [*range(step, len(samples), step), len(samples)]
        *partial, final = (words(samples[:end]) for end in ends)
        said = {pair for each in partial for pair in enumerate(each)}
        shown, wrong = shown + len(said), wrong + len(said - set(enumerate(final)))
        work, total = work + sum(ends), total + len(samples)
    print(f"{describe_machine(torch.device('cpu'))}. {options.pairs}, every {options.every:g} ms")
    print(
        f"work {work / total:.2f} of offline; {100 * wrong / max(1, shown):.1f} % of {shown} wrong"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.recomputing")
    add = parser.add_argument
    add("--bundle", default="models/english", help="(default: %(default)s)")
    add("--pairs", required=True, metavar="TSV", help="lines of an audio file, a tab and its text")
    add("--utterances", type=int, default=400, help="at most (default: %(default)s)")
    add("--every", type=float, default=640.0, metavar="MS", help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
