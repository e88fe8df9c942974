"""``python -m recipes.timit.boundaries``: how well alignment finds TIMIT's phone boundaries.

The phones of each sentence are aligned with its audio, and the boundaries compared with those that
TIMIT's transcribers set by hand. Phones are the labels of training; neighbours of one label, as the
closures of two stops, are one phone. Boundaries of a glottal stop q, which 48 and 39 labels leave
out, are not counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from asr.audio import read_audio
from asr.decoding.align import SPIKES, AlignConfig, align
from asr.recognizer import Recognizer
from asr.types import TimedToken
from recipes.common.cli import run_guarded
from recipes.common.export import best_checkpoint, bundle_from_checkpoint
from recipes.common.speakers import fit_speakers
from recipes.timit.corpus import SPLITS, TITLE, Reading, phones_beside, timed_phones, utterances
from recipes.timit.phones import labels_of
from recipes.timit.protocol import note

__all__ = ["boundary_errors", "main", "merged"]

TOLERANCES = (0.010, 0.020, 0.030, 0.050)  # seconds


@dataclass(frozen=True)
class Phone:
    """One phone, with its times in seconds."""

    name: str
    start: float
    end: float


def merged(phones: Sequence[Phone] | Sequence[TimedToken]) -> list[Phone]:
    """Neighbours of one name as one phone."""
    found: list[Phone] = []
    for phone in phones:
        name = phone.name if isinstance(phone, Phone) else phone.token
        if found and found[-1].name == name:
            found[-1] = replace(found[-1], end=phone.end)
        else:
            found.append(Phone(name, phone.start, phone.end))
    return found


def boundary_errors(reference: Sequence[Phone], aligned: Sequence[Phone]) -> Iterator[float]:
    """Seconds by which each aligned boundary is late; of the same phones, both merged.

    A boundary that the reference has not in one place, because a q stood there, is left out. Where
    an aligned phone ends before the next begins, the beginning counts.
    """
    for (left, right), (_, later) in zip(pairwise(reference), pairwise(aligned), strict=True):
        if left.end == right.start:
            yield later.start - right.start


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.timit.boundaries", description=f"Phone boundaries of {TITLE}"
    )
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of `fit`")
    parser.add_argument("--corpus", type=Path, required=True, help=f"folder of {TITLE}")
    parser.add_argument("--split", choices=SPLITS, default="dev")
    arguments = parser.parse_args(argv)
    return run_guarded(lambda: _measure(arguments.run, arguments.corpus, arguments.split))


def _measure(runs: Sequence[Path], corpus: Path, split: str) -> None:
    spoken = utterances(corpus, split)
    ways = {
        "spikes": SPIKES,
        "midpoints": AlignConfig(earlier_share=0.5, shift=0.0),
        "midpoints, a frame later": AlignConfig(earlier_share=0.5),
        "default": AlignConfig(),
    }
    table = Table(
        *("run", "boundaries", "count", "median error"),
        *(f"within {1000 * tolerance:.0f} ms" for tolerance in TOLERANCES),
        title=f"{TITLE}, {split}, {len(spoken)} utterances",
        caption=note({split: spoken}),
    )
    for run in runs:
        errors = _errors_of(run, corpus, split, list(ways.values()))
        for name, late in zip(ways, errors, strict=True):
            shares = [f"{100 * np.mean(np.abs(late) <= t + 1e-9):.1f} %" for t in TOLERANCES]
            median = f"{1000 * np.median(late):+.1f} ms"
            table.add_row(run.name, name, str(len(late)), median, *shares)
    Console().print(table)


def _errors_of(
    run: Path, corpus: Path, split: str, ways: Sequence[AlignConfig]
) -> list[np.ndarray]:
    recognizer = Recognizer(bundle_from_checkpoint(best_checkpoint(run), "timit"))
    labels = labels_of(recognizer.tokenizer.tokens)
    spoken = Reading(labels).utterances(corpus, split)
    fit_speakers(recognizer, ((read_audio(item.audio), item.speaker) for item in spoken))
    errors: list[list[float]] = [[] for _ in ways]
    for utterance in track(spoken, description=f"aligning with {run.name}", transient=True):
        reference = merged(
            [Phone(*row) for row in timed_phones(phones_beside(utterance.audio), labels)]
        )
        waveform = recognizer.prepare(read_audio(utterance.audio), utterance.speaker)
        log_probs, lengths = recognizer.log_probs([waveform])
        frames = log_probs[0, : int(lengths[0])].numpy()
        for late, way in zip(errors, ways, strict=True):
            aligned = align(
                frames, utterance.text, recognizer.tokenizer, recognizer.seconds_per_frame, way
            )
            late.extend(boundary_errors(reference, merged(aligned.tokens)))
    return [np.array(late) for late in errors]


if __name__ == "__main__":
    sys.exit(main())
