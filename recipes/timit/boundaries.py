"""``python -m recipes.timit.boundaries``: how well alignment finds TIMIT's boundaries.

The phones of each sentence are aligned with its audio, and the boundaries compared with those that
TIMIT's transcribers set by hand. Phones are the labels of training; neighbours of one label, as the
closures of two stops, are one phone. Boundaries of a glottal stop q, which 48 and 39 labels leave
out, are not counted.

With ``--bundle``, of a model of phones that has a lexicon, words are aligned in the place of
phones, and the boundaries are those between words without a pause. Sentences with a word that the
lexicon lacks are left out.
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
from asr.types import ConfigError, CorpusError, TimedToken, TokenError
from recipes.common.cli import run_guarded
from recipes.common.export import best_checkpoint, bundle_from_checkpoint
from recipes.common.manifests import Utterance
from recipes.common.speakers import fit_speakers
from recipes.timit.corpus import (
    SPLITS,
    TITLE,
    Reading,
    phones_beside,
    timed_phones,
    timed_words,
    utterances,
    words_beside,
)
from recipes.timit.phones import labels_of
from recipes.timit.protocol import note

__all__ = ["boundary_errors", "main", "merged"]

TOLERANCES = (0.010, 0.020, 0.030, 0.050)  # seconds
WAYS = {
    "spikes": SPIKES,
    "midpoints": AlignConfig(earlier_share=0.5, shift=0.0),
    "midpoints, later": AlignConfig(earlier_share=0.5),
    "default": AlignConfig(),
}


@dataclass(frozen=True)
class Phone:
    """One phone, or one word, with its times in seconds."""

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
        prog="python -m recipes.timit.boundaries", description=f"Boundaries of {TITLE}"
    )
    models = parser.add_mutually_exclusive_group(required=True)
    models.add_argument("--run", type=Path, nargs="+", help="folders of `fit`: phones")
    models.add_argument("--bundle", type=Path, help="a bundle of phones with a lexicon: words")
    parser.add_argument("--corpus", type=Path, required=True, help=f"folder of {TITLE}")
    parser.add_argument("--split", choices=SPLITS, default="dev")
    arguments = parser.parse_args(argv)
    return run_guarded(lambda: _measure(arguments))


def _measure(arguments: argparse.Namespace) -> None:
    corpus, split, bundle = arguments.corpus, arguments.split, arguments.bundle
    spoken = utterances(corpus, split)
    configs = list(WAYS.values())
    if bundle is not None:
        errors = [(bundle.name, _errors_of_words(bundle, spoken, configs))]
    else:
        errors = [(run.name, _errors_of(run, corpus, split, configs)) for run in arguments.run]
    table = Table(
        *("model", "boundaries", "count", "median error"),
        *(f"within {1000 * tolerance:.0f} ms" for tolerance in TOLERANCES),
        title=f"{TITLE}, {split}, {len(spoken)} utterances",
        caption=note({split: spoken}),
    )
    for model, found in errors:
        for name, late in zip(WAYS, found, strict=True):
            shares = [f"{100 * np.mean(np.abs(late) <= t + 1e-9):.1f} %" for t in TOLERANCES]
            median = f"{1000 * np.median(late):+.1f} ms"
            table.add_row(model, name, str(len(late)), median, *shares)
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
                frames,
                utterance.text,
                recognizer.tokenizer,
                recognizer.seconds_per_frame,
                way,
                frame_lag=recognizer.frame_lag,
            )
            late.extend(boundary_errors(reference, merged(aligned.tokens)))
    return [np.array(late) for late in errors]


def _errors_of_words(
    bundle: Path, spoken: Sequence[Utterance], ways: Sequence[AlignConfig]
) -> list[np.ndarray]:
    recognizer = Recognizer.load(bundle)
    tokenizer = recognizer.tokenizer
    lexicon = recognizer.bundle.language and recognizer.bundle.language.lexicon
    if lexicon is None:
        raise ConfigError("the bundle has no lexicon", where=str(bundle), remedy="give another")
    errors: list[list[float]] = [[] for _ in ways]
    lost = 0
    for utterance in track(spoken, description=f"aligning with {bundle.name}", transient=True):
        reference = [Phone(*row) for row in timed_words(words_beside(utterance.audio))]
        text = " ".join(word.name for word in reference)
        log_probs, lengths = recognizer.log_probs([read_audio(utterance.audio)])
        frames = log_probs[0, : int(lengths[0])].numpy()
        try:
            for late, way in zip(errors, ways, strict=True):
                found = align(
                    frames,
                    text,
                    tokenizer,
                    recognizer.seconds_per_frame,
                    way,
                    lexicon,
                    recognizer.frame_lag,
                )
                aligned = [Phone(word.text, word.start, word.end) for word in found.words]
                late.extend(boundary_errors(reference, aligned))
        except TokenError:
            lost += 1
    print(f"{lost} of {len(spoken)} sentences have a word that the lexicon lacks")
    if not errors[0]:
        raise CorpusError(
            "there is no boundary between two words", where=str(bundle), remedy="extend its lexicon"
        )
    return [np.array(late) for late in errors]


if __name__ == "__main__":
    sys.exit(main())
