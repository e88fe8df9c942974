"""Decode splits with a trained model and say how wrong it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr.bundle import Bundle
from asr.decoding import Decoder, DecoderOptions, Phrase, plain_values
from asr.files.write import Guard, check_target, replace_text
from asr.nn.chunks import Chunking
from asr.plots import check_picture_path, draw_reliability, save_picture
from asr.recognizer import Recognizer
from asr.types import ConfigError
from recipes.common.corpus import split_note
from recipes.common.evaluate.conditions import Condition, make_conditions
from recipes.common.evaluate.costs import costs_of
from recipes.common.evaluate.no_words import hear_no_words
from recipes.common.evaluate.recognition import recordings, require_room, row_of, score_cuts
from recipes.common.evaluate.reports import write_conditions, write_no_words, write_reports
from recipes.common.evaluate.results import (
    ResultFiles,
    add_summary,
    decoder_label,
    place_results,
    release,
    write_facts,
)
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.splits import SUBSET, check_fields, find_splits, manifests_in
from recipes.common.evaluate.tables import (
    group_rates,
    print_conditions,
    print_groups,
    print_no_words,
    print_overview,
    print_scores,
)
from recipes.common.evaluate.totals import Totals, reliability_of, total_scores
from recipes.common.evaluate.units import choose_scoring
from recipes.common.evaluate.warn import case_warning, training_warnings
from recipes.common.export import LanguageFiles
from recipes.common.normaliser import TextOptions
from recipes.common.recipe import Recipe
from recipes.common.speakers import fit_speakers

__all__ = ["EvaluateOptions", "Result", "evaluate"]

BEST = "best"  # the checkpoint that is meant unless another is named
ROUNDED = ("int8", "onnx-int8")  # backends that compute other results


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
        conditions: the splits are recognised in each of them as well.
        noise: a folder of recordings for the condition of that name.
        reliability: a picture to write, of how often words are right at a confidence.
        trained_on: the prepared folder that the model was trained on, where that is known.
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
    conditions: tuple[str, ...] = ()
    noise: Path | None = None
    reliability: Path | None = None
    trained_on: Path | None = None

    def __post_init__(self) -> None:
        if self.output is not None and self.conditions:
            raise ConfigError(
                "--output is one file, and conditions have a file each",
                remedy="give --results FOLDER",
            )
        if self.output is not None and len(self.splits) > 1:
            raise ConfigError(
                f"--output is one file, and there are {len(self.splits)} splits",
                remedy="give --results FOLDER, or one split",
            )
        if self.output is not None and self.nist:
            raise ConfigError(
                "--output is one file, and --nist writes several", remedy="give --results FOLDER"
            )
        if self.noise is not None and not self.conditions:
            raise ConfigError(
                "--noise without --conditions", remedy="add --conditions noise, or leave it out"
            )


@dataclass(frozen=True)
class Result:
    """What came of a split, and the seconds that it took."""

    scored: Sequence[Scored]
    totals: Totals
    seconds: float


@dataclass(frozen=True)
class _Part:
    """A split in a condition, or as it is: its cuts, and where its results go.

    ``files`` is None for ``output`` alone.
    """

    name: str
    cuts: Sequence[Cut]
    rows: Path
    files: ResultFiles | None
    facts: Mapping[str, Any]
    condition: Condition | None

    @property
    def label(self) -> str:
        """The split's name, and the condition's."""
        return self.name if self.condition is None else f"{self.name}.{self.condition.name}"


def evaluate(recipe: Recipe, options: EvaluateOptions) -> dict[str, Result]:
    """Decode the splits, print their error rates and write each utterance's result as a JSON line.

    Results are by the name of the split, and ``SPLIT.CONDITION`` in a condition.

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
    if options.trained_on is not None:
        _warn(training_warnings(options.trained_on, splits))
    conditions = make_conditions(options.conditions, recognizer.sample_rate, options.noise)
    _check_picture(options, splits)
    parts: list[_Part] = []
    results = {}
    try:
        parts.extend(
            _part(options, recognizer, scoring, name, cuts, condition)
            for name, cuts in splits.items()
            for condition in (None, *conditions.values())
        )
        for part in parts:
            results[part.label] = _run(part, options, recognizer, decoder, scoring)
    finally:
        for files in (part.files for part in parts if part.files is not None):
            release(files)
    title = f"{options.decoder.name}, {recognizer.backend}"
    if options.chunks_ms is not None:
        title += ", chunks of {:g} ms, look-ahead {:g} ms".format(*options.chunks_ms)
    clean = {name: results[name] for name in splits}
    _print(recipe, options, scoring, clean, title, _note(recipe, options, splits))
    _warn(_of_case(recipe, scoring, clean))
    if conditions:
        _compare_conditions(recipe, scoring, parts, results, title)
        _no_words(options, recognizer, decoder, parts)
    if options.reliability is not None:
        bins = {name: reliability_of(result.scored) for name, result in clean.items()}
        save_picture(draw_reliability(bins), options.reliability)
    for part in parts:
        print(f"each utterance: {part.rows}")
    return results


def _compare_conditions(
    recipe: Recipe,
    scoring: Scoring,
    parts: Sequence[_Part],
    results: Mapping[str, Result],
    how: str,
) -> None:
    """Print and write what each condition costs in each split."""
    for whole in (part for part in parts if part.condition is None):
        mine = [part for part in parts if part.name == whole.name]
        scored = {p.condition.name if p.condition else "": results[p.label].scored for p in mine}
        told = {p.condition.name: p.condition.told for p in mine if p.condition}
        costs = costs_of(scored)
        print_conditions(scoring, costs, told, title=f"{recipe.title}, {whole.name}, {how}")
        if whole.files is not None:
            write_conditions(whole.files, costs)


def _no_words(
    options: EvaluateOptions, recognizer: Recognizer, decoder: Decoder, parts: Sequence[_Part]
) -> None:
    """Print and write what is heard where nobody speaks."""
    heard = hear_no_words(recognizer, decoder, options.noise)
    print_no_words(heard)
    for files in (p.files for p in parts if p.condition is None and p.files is not None):
        write_no_words(files, heard)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _of_case(recipe: Recipe, scoring: Scoring, results: Mapping[str, Result]) -> Iterator[str]:
    """Where texts and model differ in the case of their letters."""
    has_option = recipe.token_kind == "characters"
    for name, result in results.items():
        if told := case_warning(scoring.metric, result.scored, can_prepare=has_option):
            yield f"{name}: {told}"


def _check_picture(options: EvaluateOptions, splits: Mapping[str, Sequence[Cut]]) -> None:
    """Refuse early a picture that could not be written, or would replace an input."""
    if options.reliability is not None:
        check_picture_path(options.reliability)
        for name, cuts in splits.items():
            check_target(options.reliability, _inputs(options, name, cuts))


def _part(
    options: EvaluateOptions,
    recognizer: Recognizer,
    scoring: Scoring,
    name: str,
    cuts: Sequence[Cut],
    condition: Condition | None,
) -> _Part:
    """Where the results of a split go.

    Raises:
        ConfigError: they would be written over what is read.
    """
    inputs = _inputs(options, name, cuts)
    if options.output is not None:
        check_target(options.output, inputs)
        return _Part(name, cuts, options.output, None, {}, condition)
    facts = _facts(options, recognizer, scoring, name)
    labels = _labels(options, recognizer, name)
    if condition is not None:
        facts |= {"condition": condition.name, "noise": str(options.noise or "")}
        labels += [condition.name]
    files = place_results(options.results, labels, facts, Guard(inputs).check)
    return _Part(name, cuts, files.rows, files, facts, condition)


def _inputs(options: EvaluateOptions, name: str, cuts: Sequence[Cut]) -> list[Path | str | None]:
    """What is read for a split."""
    return [
        options.model,
        options.noise,
        options.corpus,
        *manifests_in(options.data),  # one of them may have the split as a part
        *_language_files(options),
        *(source.source for cut in cuts for source in cut.recording.sources),
    ]


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
    unusual += [recognizer.backend if recognizer.backend in ROUNDED else None]
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
        require_room(file, part.rows, part.cuts)
        fit_speakers(recognizer, recordings(part.cuts, part.condition))
        started = time.monotonic()
        scored = score_cuts(
            scoring, recognizer, part.cuts, decoder, options.batch_seconds, part.condition
        )
        seconds = time.monotonic() - started
        file.writelines(row_of(s) for s in scored)
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
        "condition": part.condition.name if part.condition else "",
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
