"""Decode one split with a trained model and say how wrong it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from lhotse import CutSet
from rich.console import Console
from rich.progress import track
from rich.table import Table

from asr.decoding import DecoderConfig
from asr.recognizer import Recognizer
from asr.scoring import ErrorCounts, bootstrap_interval, token_errors
from asr.types import AsrError
from recipes.common.data import manifest_path
from recipes.common.export import bundle_from_checkpoint
from recipes.common.manifests import load_samples, read_manifest, write_manifest
from recipes.common.recipe import Recipe

__all__ = ["EvaluateOptions", "Scored", "evaluate", "print_scores", "score_cuts"]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate. ``corpus`` reads the split from a corpus instead of ``data``."""

    checkpoint: Path
    split: str
    data: Path
    corpus: Path | None
    decoder: DecoderConfig
    batch_size: int
    device: str
    output: Path


@dataclass(frozen=True)
class Scored:
    """One utterance: what was said, what was heard, and the errors between them."""

    id: str
    speaker: str
    seconds: float
    reference: str
    hypothesis: str
    confidence: float
    errors: ErrorCounts
    token_errors: ErrorCounts


def evaluate(recipe: Recipe, options: EvaluateOptions) -> list[Scored]:
    """Decode a split, print its error rates and write each utterance's result as a JSON line.

    Raises:
        AsrError: a missing checkpoint, split or corpus, or audio that cannot be read.
    """
    recognizer = Recognizer(bundle_from_checkpoint(options.checkpoint, recipe.name), options.device)
    cuts = _cuts(recipe, options)
    started = time.monotonic()
    scored = score_cuts(recipe, recognizer, cuts, options.decoder, options.batch_size)
    seconds = time.monotonic() - started
    title = f"{recipe.title}, {options.split}, {options.decoder.name}"
    print_scores(recipe, scored, title=title, seconds=seconds)
    _write(options.output, scored)
    return scored


def _cuts(recipe: Recipe, options: EvaluateOptions) -> CutSet:
    if options.corpus is None:
        return read_manifest(manifest_path(options.data, options.split))
    utterances = recipe.utterances(options.corpus, options.split)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "split.jsonl.gz"
        write_manifest(path, utterances)
        return read_manifest(path).to_eager()


def score_cuts(
    recipe: Recipe,
    recognizer: Recognizer,
    cuts: CutSet,
    decoder: DecoderConfig | None = None,
    batch_size: int = 16,
) -> list[Scored]:
    """Recognise ``cuts`` in batches of like duration, with progress; in the order given.

    An utterance that cannot be recognised counts as deleted in full and is named on the terminal.
    """
    by_duration = sorted(cuts, key=lambda cut: cut.duration)
    batches = list(_batches(by_duration, batch_size))
    scored: dict[str, Scored] = {}
    for batch in track(batches, description="recognising", transient=True):
        for cut, text, confidence in _recognise(recognizer, batch, decoder):
            scored[cut.id] = _score(recipe, recognizer, cut, text, confidence)
    return [scored[cut.id] for cut in cuts]


def _batches(items: list, size: int) -> Iterator[list]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _recognise(recognizer: Recognizer, batch: list, decoder: DecoderConfig | None) -> Iterator:
    """Yield ``(cut, text, confidence)``; falls back to one by one to find a bad utterance."""
    try:
        transcripts = recognizer.recognize([load_samples(cut) for cut in batch], decoder)
    except AsrError as error:
        if len(batch) > 1:
            for cut in batch:
                yield from _recognise(recognizer, [cut], decoder)
            return
        Console(stderr=True).print(f"{batch[0].id}: {error}", markup=False)
        yield batch[0], "", 0.0
        return
    for cut, transcript in zip(batch, transcripts, strict=True):
        yield cut, transcript.text, transcript.hypotheses[0].confidence


def _score(recipe: Recipe, recognizer: Recognizer, cut, text: str, confidence: float) -> Scored:
    reference = cut.supervisions[0].text
    return Scored(
        id=cut.id,
        speaker=cut.supervisions[0].speaker,
        seconds=cut.duration,
        reference=reference,
        hypothesis=text,
        confidence=confidence,
        errors=recipe.metric.count(reference, text),
        token_errors=token_errors(_symbols(recipe, reference), _symbols(recipe, text)),
    )


def _symbols(recipe: Recipe, text: str) -> list[str]:
    return list(text) if recipe.token_kind == "characters" else text.split()


def print_scores(recipe: Recipe, scored: list[Scored], *, title: str, seconds: float) -> None:
    """Print the table of results."""
    errors = sum((s.errors for s in scored), ErrorCounts())
    tokens = sum((s.token_errors for s in scored), ErrorCounts())
    audio = sum(s.seconds for s in scored)
    low, high = bootstrap_interval([s.errors for s in scored], [s.speaker for s in scored])
    table = Table("what", "value", title=title)
    table.add_row("utterances, speakers", f"{len(scored)}, {len({s.speaker for s in scored})}")
    table.add_row(
        recipe.metric.name,
        f"{100 * errors.rate:.2f} %  (95 % by speaker: {100 * low:.2f}–{100 * high:.2f})",
    )
    table.add_row(
        "substitutions, deletions, insertions",
        f"{errors.substitutions}, {errors.deletions}, {errors.insertions} "
        f"of {errors.reference_length}",
    )
    if recipe.token_kind == "characters":
        table.add_row("character error rate", f"{100 * tokens.rate:.2f} %")
    table.add_row("seconds of computing per second of audio", f"{seconds / audio:.3f}")
    Console().print(table)


def _write(path: Path, scored: list[Scored]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for s in scored:
            record = {
                "id": s.id,
                "speaker": s.speaker,
                "reference": s.reference,
                "hypothesis": s.hypothesis,
                "confidence": round(s.confidence, 4),
                "errors": s.errors.substitutions + s.errors.deletions + s.errors.insertions,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    print(f"each utterance: {path}")
