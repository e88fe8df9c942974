"""Files that explain an error rate: alignments, tables by fields, and what NIST's sclite reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

from asr.files.write import write_text
from asr.scoring import ErrorCounts
from asr.scoring.nist import ctm_lines, nist_id, stm_line, trn_line
from asr.scoring.report import alignment_lines, confusion_lines
from asr.types import Word
from recipes.common.evaluate.costs import Cost
from recipes.common.evaluate.no_words import NoWords
from recipes.common.evaluate.results import ResultFiles
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.tables import group_rates

__all__ = ["write_conditions", "write_no_words", "write_reports"]

MOST_CONFUSIONS = 100  # of each kind


def write_reports(
    files: ResultFiles,
    scoring: Scoring,
    scored: Sequence[Scored],
    fields: Sequence[str],
    *,
    nist: bool,
) -> None:
    """Write the alignments, a table for each of ``fields``, and NIST's files if asked for.

    Raises:
        OSError: one cannot be written.
    """
    write_text(files["alignments.txt"], "\n".join(_alignments(scoring, scored)) + "\n")
    for field in fields:
        write_text(files[f"by-{field.replace('/', '_')}.csv"], _groups(scored, field))
    if nist:
        _write_nist(files, scoring, sorted(scored, key=lambda s: nist_id(s.id).encode()))


def write_conditions(files: ResultFiles, costs: Sequence[Cost]) -> None:
    """Write the error rate in each condition as CSV.

    Raises:
        OSError: it cannot be written.
    """
    rows = [
        [cost.condition or "clean", *(round(value, 6) for value in _rates(cost)), cost.drawn]
        for cost in costs
    ]
    columns = ["condition", "error_rate", "rise", "low", "high", "drawn_by"]
    write_text(files["conditions.csv"], _csv([columns, *rows]))


def _rates(cost: Cost) -> tuple[float, ...]:
    return cost.errors.rate, cost.rise, cost.low, cost.high


def write_no_words(files: ResultFiles, heard: Sequence[NoWords]) -> None:
    """Write what was heard in recordings without words as CSV, the first text of each kind.

    Raises:
        OSError: it cannot be written.
    """
    rows = [[each.kind, each.recordings, len(each.texts), each.example] for each in heard]
    columns = ["audio", "recordings", "with_words", "example"]
    write_text(files["no-words.csv"], _csv([columns, *rows]))


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _alignments(scoring: Scoring, scored: Sequence[Scored]) -> Iterator[str]:
    """The commonest confusions, then each utterance."""
    pairs = [(scoring.units(s.reference), scoring.units(s.hypothesis)) for s in scored]
    yield from confusion_lines(pairs, MOST_CONFUSIONS)
    for each, (reference, hypothesis) in zip(scored, pairs, strict=True):
        errors = each.errors
        yield ""
        yield (
            f"{each.id}  speaker {each.speaker or 'unknown'}  S {errors.substitutions} "
            f"D {errors.deletions} I {errors.insertions} of {errors.reference_length}"
        )
        yield from alignment_lines(reference, hypothesis)


def _write_nist(files: ResultFiles, scoring: Scoring, scored: Sequence[Scored]) -> None:
    """Write the references and hypotheses as trn, and as stm and ctm.

    Each word of the ctm is what the metric compares; where that joins words, times are of no use
    and stm and ctm are left out.
    """
    units = [(s, scoring.units(s.reference), scoring.units(s.hypothesis)) for s in scored]
    may_miss = scoring.metric.optional
    ref = (trn_line(s.id, s.speaker, r, may_miss) for s, r, _ in units)
    write_text(files["ref.trn"], "".join(ref))
    write_text(files["hyp.trn"], "".join(trn_line(s.id, s.speaker, h) for s, _, h in units))
    timed = [_timed_units(scoring, s) for s in scored]
    if any(
        [word.text for word in words] != h for words, (_, _, h) in zip(timed, units, strict=True)
    ):
        return
    stm = (stm_line(s.id, s.speaker, s.seconds, r, may_miss) for s, r, _ in units)
    write_text(files["stm"], "".join(stm))
    ctm = (ctm_lines(s.id, s.seconds, words) for words, s in zip(timed, scored, strict=True))
    write_text(files["ctm"], "".join(line for lines in ctm for line in lines))


def _timed_units(scoring: Scoring, scored: Scored) -> list[Word]:
    return [replace(word, text=unit) for word in scored.words for unit in scoring.units(word.text)]


def _groups(scored: Sequence[Scored], field: str) -> str:
    """A table of the groups, as CSV."""
    counts = ("substitutions", "deletions", "insertions", "reference_length")
    rows: list[list[object]] = [[field, "utterances", "error_rate", *counts]]
    for name, group in group_rates(scored, field).items():
        errors = sum((each.errors for each in group), ErrorCounts())
        numbers = [getattr(errors, count) for count in counts]
        rows.append([name, len(group), round(errors.rate, 6), *numbers])
    return _csv(rows)
