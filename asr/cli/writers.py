"""Transcripts as text, JSON lines, SubRip subtitles (SRT) and NIST time-marked words (CTM)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asr.types import AsrError, Hypothesis, Transcript, Word

__all__ = ["file_ids", "to_ctm", "to_dict", "to_json", "to_srt", "to_text"]

# A cue stays readable: two lines of 42 characters for at most six seconds, and a pause ends it.
MAX_CUE_CHARACTERS = 84
MAX_CUE_SECONDS = 6.0
MAX_PAUSE_SECONDS = 1.0
MIN_CUE_SECONDS = 0.001

CTM_CHANNEL = "1"


def to_text(transcript: Transcript, file: str | None = None) -> str:
    """One line a hypothesis. Tab-separated columns before the text appear where they are needed:
    ``file`` if given, and the rank if there is more than one hypothesis.
    """
    many = len(transcript.hypotheses) > 1
    lines = []
    for rank, hypothesis in enumerate(transcript.hypotheses, start=1):
        columns = [*([file] if file is not None else []), *([str(rank)] if many else [])]
        lines.append("\t".join([*columns, hypothesis.text]) + "\n")
    return "".join(lines)


def to_dict(transcript: Transcript, file: str) -> dict[str, Any]:
    """Plain values of all that is known; times in seconds, scores natural logarithms."""
    return {
        "file": file,
        "duration": round(transcript.duration, 4),
        "text": transcript.text,
        "hypotheses": [_hypothesis(hypothesis) for hypothesis in transcript.hypotheses],
    }


def to_json(outcome: Transcript | AsrError, file: str) -> str:
    """:func:`to_dict` on one line, or the error that kept the file from a transcript."""
    if isinstance(outcome, AsrError):
        values: dict[str, Any] = {"file": file, "error": outcome.public_message()}
    else:
        values = to_dict(outcome, file)
    return json.dumps(values, ensure_ascii=False) + "\n"


def to_srt(transcript: Transcript) -> str:
    """Numbered cues of a few words each, in time order, none overlapping the next."""
    cues = list(_cues(transcript.hypotheses[0].timed_words()))
    blocks = []
    for index, cue in enumerate(cues):
        start = cue[0].start
        end = max(cue[-1].end, start + MIN_CUE_SECONDS)
        if index + 1 < len(cues):
            end = min(end, cues[index + 1][0].start)
        text = " ".join(word.text for word in cue)
        blocks.append(f"{index + 1}\n{_srt_time(start)} --> {_srt_time(end)}\n{text}\n\n")
    return "".join(blocks)


def to_ctm(transcript: Transcript, file_id: str) -> str:
    """One line a word: file, channel, start, duration, word, confidence (NIST sclite's CTM)."""
    return "".join(
        f"{file_id} {CTM_CHANNEL} {word.start:.3f} {max(word.end - word.start, 0.0):.3f} "
        f"{word.text} {word.confidence:.3f}\n"
        for word in transcript.hypotheses[0].timed_words()
    )


def file_ids(files: Sequence[str]) -> list[str]:
    """Names without folder and suffix, or with the folder where two would be the same.

    CTM separates fields by spaces, so a space in a name becomes an underscore.
    """
    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(set(files)):
        stems = [str(Path(file).with_suffix("")) for file in files]
    return ["_".join(stem.split()) for stem in stems]


def _hypothesis(hypothesis: Hypothesis) -> dict[str, Any]:
    """Rounded beyond what a processor's arithmetic decides, so that outputs can be compared."""
    return {
        "text": hypothesis.text,
        "score": round(hypothesis.score, 3),
        "acoustic_score": round(hypothesis.acoustic_score, 3),
        "lm_score": round(hypothesis.lm_score, 3),
        "bonus_score": round(hypothesis.bonus_score, 3),
        "confidence": round(hypothesis.confidence, 3),
        **({"search": hypothesis.search} if hypothesis.search else {}),
        "words": [_timed(asdict(word)) for word in hypothesis.words],
        "tokens": [_timed(asdict(token)) for token in hypothesis.tokens],
    }


def _timed(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()
    }


def _cues(words: Iterable[Word]) -> Iterable[list[Word]]:
    cue: list[Word] = []
    for word in words:
        if cue and _ends_before(cue, word):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _ends_before(cue: list[Word], word: Word) -> bool:
    characters = sum(len(w.text) + 1 for w in cue) + len(word.text)
    return (
        characters > MAX_CUE_CHARACTERS
        or word.end - cue[0].start > MAX_CUE_SECONDS
        or word.start - cue[-1].end > MAX_PAUSE_SECONDS
    )


def _srt_time(seconds: float) -> str:
    """``HH:MM:SS,mmm``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"
