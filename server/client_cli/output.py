"""What `asr-client` writes: text, JSON lines, SubRip (SRT) and WebVTT subtitles.

All but WebVTT, which it does not have, are those of `asr transcribe`; the client stands on its own,
so that it can be installed without what the toolkit needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.client import ClientError, Hypothesis, Model, Transcription, Word
from server.client_cli.files import Source

__all__ = ["FORMATS", "SUBTITLES", "models_text", "open_writer"]

FORMATS = ("text", "json", "srt", "vtt")
SUBTITLES = ("srt", "vtt")

# A cue stays readable: two lines of 42 characters for at most six seconds, and a pause ends it.
MAX_CUE_CHARACTERS = 84
MAX_CUE_SECONDS = 6.0
MAX_PAUSE_SECONDS = 1.0
MIN_CUE_SECONDS = 0.001

Outcome = Transcription | ClientError
Write = Callable[[int, Outcome], None]


@contextmanager
def open_writer(sources: Sequence[Source], form: str, output: str | None) -> Iterator[Write]:
    """A function that writes the outcome of the source of that index, to be called in order.

    ``output`` is a file, or a folder for the subtitles of several sources; None: stdout.

    Raises:
        ClientError: the subtitles of several sources have no place.
        OSError: ``output`` cannot be written.
    """
    if form in SUBTITLES and len(sources) > 1:
        yield _subtitle_writer(sources, form, output)
        return

    def render(index: int, outcome: Outcome) -> str:
        path = sources[index].path
        if form == "json":
            return to_json(outcome, path)
        if isinstance(outcome, ClientError):
            return ""
        if form in SUBTITLES:
            return to_subtitles(outcome, form)
        return to_text(outcome, path if len(sources) > 1 else None)

    if output is None:
        yield lambda index, outcome: print(render(index, outcome), end="", flush=True)
        return
    with open(output, "w", encoding="utf-8") as stream:
        yield lambda index, outcome: print(render(index, outcome), end="", file=stream, flush=True)


def _subtitle_writer(sources: Sequence[Source], form: str, output: str | None) -> Write:
    """Subtitles have cue numbers or a head of their own, so each source has its own file."""
    if output is None:
        raise ClientError(
            "subtitles of several files do not fit into one stream "
            "(give --output FOLDER, or one file at a time)"
        )
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ClientError(f"two files would both write {twice}.{form} (transcribe them separately)")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    def write(index: int, outcome: Outcome) -> None:
        if isinstance(outcome, Transcription):
            file = folder / f"{names[index]}.{form}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(to_subtitles(outcome, form), encoding="utf-8")

    return write


def to_text(transcription: Transcription, path: str | None) -> str:
    """One line a hypothesis; before it ``path``, if given, and its rank if there are several."""
    many = len(transcription.hypotheses) > 1
    lines = []
    for rank, hypothesis in enumerate(transcription.hypotheses, start=1):
        columns = [*([path] if path is not None else []), *([str(rank)] if many else [])]
        lines.append("\t".join([*columns, hypothesis.text]) + "\n")
    return "".join(lines)


def to_json(outcome: Outcome, path: str) -> str:
    """All that is known on one line, or why that is nothing, so that no file goes missing.

    Times are in seconds, scores natural logarithms.
    """
    values: dict[str, Any] = {"file": path}
    if isinstance(outcome, ClientError):
        values["error"] = str(outcome)
    else:
        values["duration"] = round(outcome.duration, 4)
        values["text"] = outcome.text
        values["hypotheses"] = [_hypothesis(hypothesis) for hypothesis in outcome.hypotheses]
    return json.dumps(values, ensure_ascii=False) + "\n"


def to_subtitles(transcription: Transcription, form: str) -> str:
    """Cues of a few words each, in time order, none overlapping the next; SRT numbers them."""
    cues = list(_cues(transcription.hypotheses[0].words))
    blocks = []
    for index, cue in enumerate(cues):
        start = cue[0].start
        end = max(cue[-1].end, start + MIN_CUE_SECONDS)
        if index + 1 < len(cues):
            end = min(end, cues[index + 1][0].start)
        text = " ".join(word.text for word in cue)
        if form == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            blocks.append(f"{_time(start, '.')} --> {_time(end, '.')}\n{text}\n\n")
        else:
            blocks.append(f"{index + 1}\n{_time(start, ',')} --> {_time(end, ',')}\n{text}\n\n")
    return "".join([*(["WEBVTT\n\n"] if form == "vtt" else []), *blocks])


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
        "words": [
            {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in asdict(word).items()
            }
            for word in hypothesis.words
        ],
    }


def _cues(words: Iterable[Word]) -> Iterator[list[Word]]:
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


def _time(seconds: float, mark: str) -> str:
    """``HH:MM:SS,mmm``, with ``mark`` before the milliseconds."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{rest:03d}"
