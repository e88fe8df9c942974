"""Decode one split with a trained model and say how wrong it is."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from asr.decoding import Decoder, DecoderOptions, Phrase
from asr.files.write import check_target, replace_text
from asr.recognizer import Recognizer
from asr.scoring import ErrorCounts, bootstrap_interval, confusions, token_errors
from asr.tokens import SPACE
from asr.transcribe import transcribe_utterances
from asr.types import AsrError, CorpusError, Waveform
from recipes.common.audio import load_samples
from recipes.common.corpus import split_note
from recipes.common.data import manifest_path
from recipes.common.export import LanguageFiles, bundle_from_checkpoint
from recipes.common.manifests import check_ids, read_manifest, usable_cuts
from recipes.common.prepare import read_split
from recipes.common.recipe import Recipe
from recipes.common.speakers import fit_speakers

__all__ = ["EvaluateOptions", "Scored", "evaluate", "print_scores", "score_cuts"]

BYTES_A_LINE = 200  # of a result beside its texts


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate. ``corpus`` reads the split from a corpus instead of ``data``."""

    checkpoint: Path
    split: str
    data: Path
    corpus: Path | None
    decoder: DecoderOptions
    batch_seconds: float
    device: str
    backend: str
    output: Path
    language: LanguageFiles | None = None
    phrases: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Scored:
    """One utterance: its reference, its hypothesis, and the errors between them.

    ``recognised`` is False where the audio could not be used: the hypothesis is empty then.
    """

    id: str
    speaker: str
    seconds: float
    reference: str
    hypothesis: str
    confidence: float
    errors: ErrorCounts
    token_errors: ErrorCounts
    recognised: bool = True


def evaluate(recipe: Recipe, options: EvaluateOptions) -> list[Scored]:
    """Decode a split, print its error rates and write each utterance's result as a JSON line.

    A model that normalises by speaker takes each speaker's statistics from the split's recordings.

    Raises:
        AsrError: a missing checkpoint, split or corpus, no audio that can be used, or an output
            that is one of them.
        OSError: the output cannot be written.
    """
    bundle = bundle_from_checkpoint(options.checkpoint, recipe.name)
    if options.language is not None:
        bundle = options.language.add_to(bundle)
    recognizer = Recognizer(bundle, options.device, backend=options.backend)
    decoder = recognizer.decoder(options.decoder, options.phrases)
    cuts = _cuts(recipe, options)
    manifest = manifest_path(options.data, options.split)
    inputs = [options.checkpoint, manifest, *_language_files(options), *_files(cuts)]
    check_target(options.output, inputs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with replace_text(options.output) as file:  # opened first, to fail before the work
        _require_room(file, options.output, cuts)
        fit_speakers(recognizer, _recordings(cuts))
        started = time.monotonic()
        scored = score_cuts(recipe, recognizer, cuts, decoder, options.batch_seconds)
        seconds = time.monotonic() - started
        file.writelines(_record(s) for s in scored)
    title = f"{recipe.title}, {options.split}, {options.decoder.name}, {recognizer.backend}"
    notes = (
        split_note(options.data),
        recipe.note({options.split: cuts}) if options.corpus else None,
    )
    note = "\n".join(dict.fromkeys(filter(None, notes))) or None
    print_scores(recipe, scored, title=title, seconds=seconds, note=note)
    print(f"each utterance: {options.output}")
    return scored


def _language_files(options: EvaluateOptions) -> list[Path | None]:
    return [options.language.lm, options.language.lexicon] if options.language else []


def _files(cuts: Iterable[Cut]) -> list[str]:
    """The recordings that are read."""
    return [source.source for cut in cuts for source in cut.recording.sources]


def _require_room(results: TextIO, path: Path, cuts: Sequence[Cut]) -> None:
    """Raise OSError if the disk has no room for a line for each of ``cuts``.

    A pipe or a terminal takes what it is given.
    """
    regular = stat.S_ISREG(os.fstat(results.fileno()).st_mode)
    if not regular or not hasattr(os, "posix_fallocate"):  # macOS has none
        return
    texts = sum(len((cut.supervisions[0].text or "").encode()) for cut in cuts)
    try:
        os.posix_fallocate(results.fileno(), 0, BYTES_A_LINE * len(cuts) + 2 * texts)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.ftruncate(results.fileno(), 0)


def _cuts(recipe: Recipe, options: EvaluateOptions) -> list[Cut]:
    if options.corpus is None:
        return list(read_manifest(manifest_path(options.data, options.split)))
    utterances = read_split(recipe, options.corpus, options.split)
    check_ids(options.corpus, utterances)
    return usable_cuts(utterances)


def _recordings(cuts: Sequence[Cut]) -> Iterator[tuple[Waveform, str | None]]:
    """What can be read of ``cuts``, and who speaks; recognition names what cannot be."""
    for cut in cuts:
        with suppress(AsrError):
            yield load_samples(cut), cut.supervisions[0].speaker


def score_cuts(
    recipe: Recipe,
    recognizer: Recognizer,
    cuts: Sequence[Cut],
    decoder: Decoder,
    batch_seconds: float,
) -> list[Scored]:
    """Recognise ``cuts`` in batches of like duration, with progress; in the order given.

    An utterance that cannot be recognised counts as deleted in full and is named on the terminal.

    Raises:
        CorpusError: none can be recognised.
    """
    items = list(cuts)
    outcomes = transcribe_utterances(
        recognizer,
        [cut.id for cut in items],
        [cut.duration for cut in items],
        lambda index: load_samples(items[index]),
        decoder,
        batch_seconds=batch_seconds,
        speakers=[cut.supervisions[0].speaker for cut in items],
    )
    scored: dict[int, Scored] = {}
    for index, outcome in track(
        outcomes, total=len(items), description="recognising", transient=True
    ):
        if isinstance(outcome, AsrError):
            Console(stderr=True).print(f"{items[index].id}: {outcome}", markup=False)
            unheard = _score(recipe, items[index], "", 0.0)
            scored[index] = replace(unheard, recognised=False)
        else:
            best = outcome.hypotheses[0]
            scored[index] = _score(recipe, items[index], best.text, best.confidence)
    if not any(score.recognised for score in scored.values()):
        raise CorpusError(
            f"none of {len(items)} utterances can be recognised",
            remedy="the lines above say why of each",
        )
    return [scored[index] for index in range(len(items))]


def _score(recipe: Recipe, cut: Cut, text: str, confidence: float) -> Scored:
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


def print_scores(
    recipe: Recipe, scored: list[Scored], *, title: str, seconds: float, note: str | None = None
) -> None:
    """Print the table of results, with a ``note`` on the splits beneath it."""
    errors = sum((s.errors for s in scored), ErrorCounts())
    tokens = sum((s.token_errors for s in scored), ErrorCounts())
    audio = sum(s.seconds for s in scored)
    # Who is not named counts as a speaker of their own.
    low, high = bootstrap_interval([s.errors for s in scored], [s.speaker or s.id for s in scored])
    table = Table("what", "value", title=Text(title), caption=note)
    table.add_row("utterances, speakers", f"{len(scored)}, {len({s.speaker for s in scored})}")
    table.add_row(
        recipe.metric.name,
        f"{100 * errors.rate:.2f} %  (95 % by speaker: {100 * low:.2f} to {100 * high:.2f})",
    )
    if recipe.metric.convention:
        table.add_row("scoring", recipe.metric.convention)
    table.add_row(
        "substitutions, deletions, insertions",
        f"{errors.substitutions}, {errors.deletions}, {errors.insertions} "
        f"of {errors.reference_length}",
    )
    if recipe.token_kind == "characters":
        table.add_row("character error rate", f"{100 * tokens.rate:.2f} %")
    table.add_row("commonest confusions", Text(_confusions(recipe, scored)))
    table.add_row("seconds of computing per second of audio", f"{seconds / audio:.3f}")
    Console().print(table)


def _confusions(recipe: Recipe, scored: list[Scored]) -> str:
    """The most frequent wrong tokens, as reference->hypothesis."""
    symbols = recipe.metric.symbols or partial(_symbols, recipe)
    pairs = ((symbols(s.reference), symbols(s.hypothesis)) for s in scored)
    return ", ".join(
        f"{_shown(reference)}->{_shown(hypothesis)} {count}"
        for reference, hypothesis, count in confusions(pairs)[:8]
    )


def _shown(token: str | None) -> str:
    return "<nothing>" if token is None else SPACE if token == " " else token


def _record(scored: Scored) -> str:
    values = {
        "id": scored.id,
        "speaker": scored.speaker,
        "reference": scored.reference,
        "hypothesis": scored.hypothesis,
        "confidence": round(scored.confidence, 4),
        "errors": scored.errors.total,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"
