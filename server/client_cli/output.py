"""What `asr-client` writes: results in the formats of `asr transcribe`, and lists of models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from asr.cli.writers import (
    CtmWriter,
    JsonWriter,
    Result,
    ResultWriter,
    SrtWriter,
    TextWriter,
    VttWriter,
)
from asr.files.find import Source
from asr.types import AsrError, Hypothesis, Transcript, Word
from server import client
from server.client import ClientError, LiveResult, Model, Transcription

__all__ = ["FORMATS", "models_text", "result_of", "results_of"]


class _JsonWriter(JsonWriter):
    """Without tokens, which the server does not send; with the times of a stream's segments."""

    tokens = False

    def values(self, source: Source, result: Result) -> dict[str, Any]:
        """See :class:`asr.cli.writers.JsonWriter`."""
        values = super().values(source, result)
        if result.end is not None:
            values |= {"start": round(result.start, 3), "end": round(result.end, 3)}
        return values


FORMATS = {
    "text": TextWriter,
    "json": _JsonWriter,
    "srt": SrtWriter,
    "vtt": VttWriter,
    "ctm": CtmWriter,
}


def results_of(outcome: Transcription | ClientError, kind: type[ResultWriter]) -> list[Result]:
    """What the server said of a file, as a writer of ``kind`` takes it.

    Of channels by themselves people read who said what in the order of time. Where programs read,
    a result is all that was said in a channel, with its alternatives.
    """
    if isinstance(outcome, ClientError) or not outcome.channels:
        return [result_of(outcome)]
    if issubclass(kind, (JsonWriter, CtmWriter)):
        return [result_of(part) for part in outcome.channels]
    return [_turn(turn) for turn in client.turns_of(outcome.channels)] or [result_of(outcome)]


def _turn(turn: client.Turn) -> Result:
    hypothesis = Hypothesis(turn.text, 0.0, 0.0, words=_words(turn.words))
    transcript = Transcript((hypothesis,), turn.end - turn.start)
    return Result(transcript, turn.start, turn.end, turn.channel)


def result_of(outcome: Transcription | LiveResult | ClientError) -> Result:
    """What the server said, as the toolkit's writers take it."""
    if isinstance(outcome, ClientError):
        return Result(AsrError(str(outcome)))
    hypotheses = tuple(_hypothesis(hypothesis) for hypothesis in outcome.hypotheses)
    if isinstance(outcome, LiveResult):
        transcript = Transcript(hypotheses, outcome.end - outcome.start)
        return Result(transcript, outcome.start, outcome.end, outcome.channel)
    return Result(Transcript(hypotheses, outcome.duration), channel=outcome.channel)


def _hypothesis(hypothesis: client.Hypothesis) -> Hypothesis:
    return Hypothesis(
        text=hypothesis.text,
        score=hypothesis.score,
        confidence=hypothesis.confidence,
        words=_words(hypothesis.words),
        search=hypothesis.search,
        lm_score=hypothesis.lm_score,
        bonus_score=hypothesis.bonus_score,
        spoken_text=hypothesis.spoken_text or None,
        spoken_words=_words(hypothesis.spoken_words),
    )


def _words(words: Iterable[client.Word]) -> tuple[Word, ...]:
    return tuple(Word(word.text, word.start, word.end, word.confidence) for word in words)


def models_text(models: Iterable[Model], form: str) -> str:
    """A line a model: its name, rate, decoders (the default one first), and which is the default;
    or all that is known of each as JSON.
    """
    if form == "json":
        return "".join(json.dumps(asdict(model), ensure_ascii=False) + "\n" for model in models)
    lines = []
    for model in models:
        decoders = sorted(model.decoders, key=lambda name: name != model.default_decoder)
        columns = [model.name, f"{model.sample_rate} Hz", ", ".join(decoders)]
        lines.append("\t".join([*columns, *(["default"] if model.is_default else [])]) + "\n")
    return "".join(lines)
