"""What was said, in the formats of OpenAI's transcriptions."""

from __future__ import annotations

import math
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from asr.cli.writers import ResultWriter, SrtWriter, VttWriter, group_words
from asr.files.find import Source
from asr.types import Word
from server.client import Transcription
from server.client_cli.output import result_of
from server.http.form import Wanted

__all__ = ["answer"]

SUBTITLES: dict[str, type[ResultWriter]] = {"srt": SrtWriter, "vtt": VttWriter}
# As Whisper calls them; others keep their codes.
NAMES = "ar arabic de german en english es spanish fr french it italian nl dutch pt portuguese"
LANGUAGES = dict(zip(NAMES.split()[::2], NAMES.split()[1::2], strict=True))
LEAST_CONFIDENCE = 1e-4  # so that its logarithm is a number


def answer(wanted: Wanted, said: Transcription, language: str) -> Response:
    """``said`` as ``wanted``; ``language`` is the code of what was spoken."""
    if wanted.format == "json":
        return JSONResponse({"text": said.text, "usage": _usage(said.duration)})
    if wanted.format == "text":
        return PlainTextResponse(said.text + "\n")
    if wanted.format == "verbose_json":
        return JSONResponse(_verbose(wanted, said, language))
    source = Source("upload", "upload")
    writer = SUBTITLES[wanted.format]([source])
    return PlainTextResponse(writer.render(source, [result_of(said)]))


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(seconds)}


def _verbose(wanted: Wanted, said: Transcription, language: str) -> dict[str, Any]:
    words = [Word(w.text, w.start, w.end, w.confidence) for w in said.hypotheses[0].words]
    values: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGES.get(language, language),
        "duration": round(said.duration, 3),
        "text": said.text,
        "usage": _usage(said.duration),
    }
    if "segment" in wanted.granularities:
        groups = enumerate(group_words(words))
        values["segments"] = [_segment(number, group) for number, group in groups]
    if said.posteriors is not None:
        values["posteriors"] = {
            "frame_step": said.posteriors.frame_step,
            "tokens": said.posteriors.tokens,
            "probabilities": b64encode(said.posteriors.probabilities).decode("ascii"),
        }
    if "word" in wanted.granularities:
        values["words"] = [
            {
                "word": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 3),
            }
            for word in words
        ]
    return values


def _segment(number: int, words: Sequence[Word]) -> dict[str, Any]:
    """Words between two pauses. There are no numbers of tokens, which Whisper's models have."""
    text = " ".join(word.text for word in words)
    logs = [math.log(max(word.confidence, LEAST_CONFIDENCE)) for word in words]
    data = text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(words[0].start, 3),
        "end": round(words[-1].end, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(logs) / len(logs), 4),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 4),
        "no_speech_prob": 0.0,
    }
