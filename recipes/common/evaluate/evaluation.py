"""Decode splits with a trained model and say how wrong it is."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr.bundle import Bundle
from asr.decoding import Decoder, DecoderOptions, Phrase, plain_values
from asr.files.write import Guard, check_target, replace_text
from asr.nn.chunks import Chunking
from asr.recognizer import Recognizer
from asr.transcribe import transcribe_utterances
from asr.types import AsrError, ConfigError, CorpusError, Hypothesis, Waveform
from recipes.common.audio import load_samples
from recipes.common.corpus import split_note
from recipes.common.data import manifest_path
from recipes.common.evaluate.reports import write_reports
from recipes.common.evaluate.results import (
    ResultFiles,
    add_summary,
    decoder_label,
    place_results,
    release,
    write_facts,
)
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.splits import SUBSET, check_fields, find_splits
from recipes.common.evaluate.tables import (
    group_rates,
    print_groups,
    print_overview,
    print_scores,
)
from recipes.common.evaluate.totals import Totals, total_scores
from recipes.common.evaluate.units import choose_scoring
from recipes.common.export import LanguageFiles
from recipes.common.normaliser import TextOptions
from recipes.common.recipe import Recipe
from recipes.common.speakers import fit_speakers

__all__ = ["EvaluateOptions", "Result", "evaluate", "score_cuts"]

BYTES_A_LINE = 200  # of a result beside its texts
BEST = "best"  # the checkpoint that is meant unless another is named
INT8 = "onnx-int8"  # the backend that computes other results


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate.

    Attributes:
        bundle: the model.
        model: the checkpoint or bundle it is from.
        splits: names, each of which has its own results.
        data: the prepared folder.
        corpus: is read in its place if given.
        results: the folder for all that is written.
        output: a file for each utterance's result in place of that folder, for one split.
        by: fields of the corpus, for a table each.
        nist: also write what NIST's sclite reads.
        scoring: the name of the metric, where the recipe has several.
        chunks_ms: chunk and look-ahead in milliseconds, to decode as streams are; None to read
            whole utterances.
    """

    bundle: Bundle
    model: Path
    splits: tuple[str, ...]
    data: Path
    corpus: Path | None
    decoder: DecoderOptions
    batch_seconds: float
    device: str
    backend: str
    results: Path
    output: Path | None = None
    language: LanguageFiles | None = None
    phrases: tuple[Phrase, ...] = ()
    by: tuple[str, ...] = ()
    nist: bool = False
    scoring: str | None = None
    chunks_ms: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.output is not None and len(self.splits) > 1:
            raise ConfigError(
                f"--output is one file, and there are {len(self.splits)} splits",
                remedy="give --results FOLDER, or one split",
            )


@dataclass(frozen=True)
class Result:
    """What came of a split, and the seconds that it took."""

    scored: Sequence[Scored]
    totals: Totals
    seconds: float


@dataclass(frozen=True)
class _Part:
    """A split: its cuts, and where its results go; ``files`` is None for ``output`` alone."""

    name: str
    cuts: Sequence[Cut]
    rows: Path
    files: ResultFiles | None
    facts: Mapping[str, Any]


def evaluate(recipe: Recipe, options: EvaluateOptions) -> dict[str, Result]:
    """Decode the splits, print their error rates and write each utterance's result as a JSON line.

    A model that normalises by speaker takes each speaker's statistics from the split's recordings.

    Raises:
        AsrError: a missing split or corpus, no audio that can be used, a field that no utterance
            has, or an output that is one of the inputs.
        OSError: the output cannot be written.
    """
    bundle = options.bundle
    if options.language is not None:
        bundle = options.language.add_to(bundle)
    chunking = None
    if options.chunks_ms is not None:
        chunk, look_ahead = (length / 1000 for length in options.chunks_ms)
        chunking = Chunking.of_seconds(chunk, look_ahead, bundle.seconds_per_frame)
    recognizer = Recognizer(bundle, options.device, backend=options.backend, chunking=chunking)
    decoder = recognizer.decoder(options.decoder, options.phrases)
    told = bundle.metadata.get("text")
    form = None if told is None else TextOptions.from_dict(told)
    splits = find_splits(recipe, options.splits, options.data, options.corpus, form)
    scoring = choose_scoring(recipe, recognizer, options.decoder, splits)
    check_fields(options.by, splits)
    parts: list[_Part] = []
    results = {}
    try:
        for name, cuts in splits.items():
            parts.append(_part(options, recognizer, scoring, name, cuts))
        for part in parts:
            results[part.name] = _run(part, options, recognizer, decoder, scoring)
    finally:
        for files in (part.files for part in parts if part.files is not None):
            release(files)
    title = f"{options.decoder.name}, {recognizer.backend}"
    if options.chunks_ms is not None:
        title += ", chunks of {:g} ms, look-ahead {:g} ms".format(*options.chunks_ms)
    _print(recipe, options, scoring, results, title, _note(recipe, options, splits))
    for part in parts:
        print(f"each utterance: {part.rows}")
    return results


def _part(
    options: EvaluateOptions,
    recognizer: Recognizer,
    scoring: Scoring,
    name: str,
    cuts: Sequence[Cut],
) -> _Part:
    """Where the results of a split go.

    Raises:
        ConfigError: they would be written over what is read.
    """
    inputs = [
        options.model,
        manifest_path(options.data, name),
        *_language_files(options),
        *(source.source for cut in cuts for source in cut.recording.sources),
    ]
    if options.output is not None:
        check_target(options.output, inputs)
        return _Part(name, cuts, options.output, None, {})
    facts = _facts(options, recognizer, scoring, name)
    labels = _labels(options, recognizer, name)
    files = place_results(options.results, labels, facts, Guard(inputs).check)
    return _Part(name, cuts, files.rows, files, facts)


def _language_files(options: EvaluateOptions) -> list[Path | None]:
    return [options.language.lm, options.language.lexicon] if options.language else []


def _labels(options: EvaluateOptions, recognizer: Recognizer, split: str) -> list[str]:
    """What the files' names tell: split and decoder, and whatever is not the usual."""
    language = recognizer.bundle.language
    decoder = decoder_label(
        options.decoder,
        lm=language is not None and language.lm is not None,
        lexicon=language is not None and language.lexicon is not None,
        phrases=bool(options.phrases),
    )
    checkpoint = options.model.stem if options.model.is_file() else BEST
    unusual = [checkpoint if checkpoint != BEST else None, options.scoring]
    unusual += [INT8 if recognizer.backend == INT8 else None]
    if options.chunks_ms is not None:
        unusual.append("chunks-{:g}-{:g}".format(*options.chunks_ms))
    return [split, decoder, *filter(None, unusual)]


def _facts(
    options: EvaluateOptions, recognizer: Recognizer, scoring: Scoring, split: str
) -> dict[str, Any]:
    """What was evaluated and how, as plain values: the same give the same results."""
    language = options.language
    by_chunks = {} if options.chunks_ms is None else {"chunks_ms": list(options.chunks_ms)}
    return {
        "corpus": str(options.corpus or options.data),
        "split": split,
        "model": str(options.model),
        "metadata": dict(recognizer.bundle.metadata),
        "decoder": plain_values(options.decoder),
        "lm": str(language.lm) if language and language.lm else None,
        "lexicon": str(language.lexicon) if language and language.lexicon else None,
        "phrases": [asdict(phrase) for phrase in options.phrases],
        "backend": recognizer.backend,
        "metric": scoring.metric.name,
        "scoring": options.scoring,
        "scored_in": scoring.scored_in,
        **by_chunks,
    }


def _note(
    recipe: Recipe, options: EvaluateOptions, splits: Mapping[str, Sequence[Cut]]
) -> str | None:
    """What readers of the tables must know."""
    notes = (split_note(options.data), recipe.note(splits) if options.corpus else None)
    return "\n".join(dict.fromkeys(filter(None, notes))) or None


def _run(
    part: _Part,
    options: EvaluateOptions,
    recognizer: Recognizer,
    decoder: Decoder,
    scoring: Scoring,
) -> Result:
    """Recognise a split and write what comes of it."""
    part.rows.parent.mkdir(parents=True, exist_ok=True)
    with replace_text(part.rows) as file:  # opened first, to fail before the work
        _require_room(file, part.rows, part.cuts)
        fit_speakers(recognizer, _recordings(part.cuts))
        started = time.monotonic()
        scored = score_cuts(scoring, recognizer, part.cuts, decoder, options.batch_seconds)
        seconds = time.monotonic() - started
        file.writelines(_record(s) for s in scored)
    totals = total_scores(scored)
    if part.files is not None:
        write_reports(part.files, scoring, scored, _fields(options, scored), nist=options.nist)
        write_facts(part.files, part.facts, totals.plain())
        add_summary(options.results, _summary(part, scoring, totals, seconds))
    return Result(scored, totals, seconds)


def _summary(part: _Part, scoring: Scoring, totals: Totals, seconds: float) -> dict[str, Any]:
    """A line of the table of all results."""
    errors, facts = totals.errors, part.facts
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "result": part.rows.stem,
        "split": part.name,
        "decoder": facts["decoder"]["name"],
        "backend": facts["backend"],
        "utterances": totals.utterances,
        "speakers": totals.speakers,
        "metric": scoring.metric.name,
        "scored_in": scoring.scored_in or "",
        "error_rate": round(errors.rate, 6),
        "low": round(totals.low, 6),
        "high": round(totals.high, 6),
        "drawn_by": totals.drawn,
        "substitutions": errors.substitutions,
        "deletions": errors.deletions,
        "insertions": errors.insertions,
        "reference_length": errors.reference_length,
        "token_error_rate": round(totals.token_errors.rate, 6),
        "oracle_error_rate": round(totals.oracle.rate, 6),
        "hypotheses": round(totals.nbest, 2),
        "calibration_error": round(totals.calibration_error, 4),
        "seconds_per_second": round(seconds / totals.audio, 4),
        "model": facts["model"],
    }


def _fields(options: EvaluateOptions, scored: Sequence[Scored]) -> tuple[str, ...]:
    """The fields for a table each: subsets are told apart unasked."""
    subsets = {s.fields.get(SUBSET) for s in scored}
    return tuple(dict.fromkeys([*options.by, *([SUBSET] if len(subsets) > 1 else [])]))


def _print(
    recipe: Recipe,
    options: EvaluateOptions,
    scoring: Scoring,
    results: Mapping[str, Result],
    how: str,
    note: str | None,
) -> None:
    """Print the tables: one of all, or a row for each of several splits; then those by fields."""
    titles = {split: f"{recipe.title}, {split}, {how}" for split in results}
    if len(results) > 1:
        rows = {split: (result.totals, result.seconds) for split, result in results.items()}
        print_overview(scoring, rows, title=f"{recipe.title}, {how}", note=note)
    else:
        for split, result in results.items():
            print_scores(
                scoring,
                result.scored,
                result.totals,
                title=titles[split],
                seconds=result.seconds,
                note=note,
            )
    for split, result in results.items():
        for field in _fields(options, result.scored):
            print_groups(scoring, group_rates(result.scored, field), field, title=titles[split])


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


def _recordings(cuts: Sequence[Cut]) -> Iterator[tuple[Waveform, str | None]]:
    """What can be read of ``cuts``, and who speaks; recognition names what cannot be."""
    for cut in cuts:
        with suppress(AsrError):
            yield load_samples(cut), cut.supervisions[0].speaker


def score_cuts(
    scoring: Scoring,
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
        cut = items[index]
        hypotheses: Sequence[Hypothesis] = ()
        if isinstance(outcome, AsrError):
            Console(stderr=True).print(f"{cut.id}: {outcome}", markup=False)
        else:
            hypotheses = outcome.hypotheses
        scored[index] = scoring.score(cut, hypotheses)
    if not any(score.recognised for score in scored.values()):
        raise CorpusError(
            f"none of {len(items)} utterances can be recognised",
            remedy="the lines above say why of each",
        )
    return [scored[index] for index in range(len(items))]


def _record(scored: Scored) -> str:
    values: dict[str, Any] = {
        "id": scored.id,
        "speaker": scored.speaker,
        "reference": scored.reference,
        "hypothesis": scored.hypothesis,
        "confidence": round(scored.confidence, 4),
        "errors": scored.errors.total,
    }
    if len(scored.nbest) > 1:
        values["oracle_errors"] = scored.oracle.total
        values["nbest"] = [
            {
                "text": each.text,
                "score": round(each.score, 4),
                "confidence": round(each.confidence, 4),
                "errors": each.errors.total,
            }
            for each in scored.nbest
        ]
    return json.dumps(values, ensure_ascii=False) + "\n"
