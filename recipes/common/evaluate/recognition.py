"""Recognise the utterances of a split, and a line of JSON for what came of each."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr.decoding import Decoder
from asr.recognizer import Recognizer
from asr.transcribe import transcribe_utterances
from asr.types import AsrError, CorpusError, Hypothesis, Waveform
from recipes.common.audio import load_samples
from recipes.common.evaluate.conditions import Condition
from recipes.common.evaluate.scored import Scored, Scoring

__all__ = ["recordings", "require_room", "row_of", "score_cuts"]

BYTES_A_LINE = 200  # of a result beside its texts


def require_room(results: TextIO, path: Path, cuts: Sequence[Cut]) -> None:
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


def recordings(
    cuts: Iterable[Cut], condition: Condition | None = None
) -> Iterator[tuple[Waveform, str | None]]:
    """What can be read of ``cuts``, and who speaks; recognition names what cannot be."""
    for cut in cuts:
        with suppress(AsrError):
            yield _load(cut, condition), cut.supervisions[0].speaker


def _load(cut: Cut, condition: Condition | None) -> Waveform:
    waveform = load_samples(cut)
    return waveform if condition is None else condition(waveform, cut.id)


def score_cuts(
    scoring: Scoring,
    recognizer: Recognizer,
    cuts: Sequence[Cut],
    decoder: Decoder,
    batch_seconds: float,
    condition: Condition | None = None,
) -> list[Scored]:
    """Recognise ``cuts`` in batches of like duration, with progress; in the order given.

    An utterance that cannot be recognised counts as deleted in full and is named on the terminal.

    Raises:
        CorpusError: none can be recognised.
    """
    items = list(cuts)
    added = condition.added_seconds if condition else 0.0
    outcomes = transcribe_utterances(
        recognizer,
        [cut.id for cut in items],
        [cut.duration + added for cut in items],
        lambda index: _load(items[index], condition),
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


def row_of(scored: Scored) -> str:
    """The line of an utterance in the file of rows."""
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
