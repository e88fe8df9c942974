"""Results as text, JSON lines, subtitles (SubRip, WebVTT), NIST's CTM and Praat's TextGrid.

One :class:`ResultWriter` a format. :mod:`asr.cli.results` puts what they write where it belongs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from asr.cli.terminal import one_line
from asr.cli.textgrid import to_textgrid
from asr.files.find import Source
from asr.types import AsrError, Hypothesis, Segment, Transcript, Word

__all__ = [
    "CtmWriter",
    "JsonWriter",
    "Outcome",
    "Result",
    "ResultWriter",
    "SrtWriter",
    "TextGridWriter",
    "TextWriter",
    "VttWriter",
    "group_words",
]

# A cue stays readable: two lines of 42 characters for at most six seconds, and a pause ends it.
MAX_CUE_CHARACTERS = 84
MAX_CUE_SECONDS = 6.0
MAX_PAUSE_SECONDS = 1.0
MIN_CUE_SECONDS = 0.001

CTM_CHANNEL = 1  # of audio that is heard as one

Outcome = Transcript | AsrError


@dataclass(frozen=True)
class Result:
    """What became of a source, or of its part from ``start`` to ``end`` (seconds), or of what was
    said in its ``channel`` (from 1) alone.
    """

    outcome: Outcome
    start: float = 0.0
    end: float | None = None
    channel: int = 0


class ResultWriter:
    """Gives the text of one output, a file or a stream, part by part.

    Args:
        sources: all whose results will be in it.
    """

    suffix: ClassVar[str]
    of_one: ClassVar[bool] = False  # an output holds the results of one source alone

    def __init__(self, sources: Sequence[Source]) -> None:
        self._many = len(sources) > 1

    def render(self, source: Source, results: Sequence[Result]) -> str:
        """What the next source's results, or the next of them, add."""
        raise NotImplementedError


class TextWriter(ResultWriter):
    """A line a hypothesis. Columns between tabs come before the text where they are needed: the
    source if there are several, the channel if each is by itself, and the rank if there is more
    than one hypothesis. Failures are left out.
    """

    suffix = "txt"

    def render(self, source: Source, results: Sequence[Result]) -> str:
        lines = []
        for result in results:
            transcript = result.outcome
            if isinstance(transcript, AsrError):
                continue
            before = [source.path] * self._many + [str(result.channel)] * (result.channel > 0)
            ranked = len(transcript.hypotheses) > 1
            for rank, hypothesis in enumerate(transcript.hypotheses, start=1):
                columns = [*before, *([str(rank)] if ranked else [])]
                lines.append("\t".join([*columns, hypothesis.text]) + "\n")
        return "".join(lines)


class JsonWriter(ResultWriter):
    """All that is known of a result in one line, or the error instead, so that none goes missing.

    Times are in seconds, scores natural logarithms.
    """

    suffix = "jsonl"
    tokens: ClassVar[bool] = True  # tell of them

    def render(self, source: Source, results: Sequence[Result]) -> str:
        return "".join(
            json.dumps(self.values(source, result), ensure_ascii=False) + "\n" for result in results
        )

    def values(self, source: Source, result: Result) -> dict[str, Any]:
        """What a line tells."""
        outcome = result.outcome
        if isinstance(outcome, AsrError):
            return {"file": source.path, "error": outcome.public_message()}
        return {
            "file": source.path,
            **({"channel": result.channel} if result.channel else {}),
            "duration": round(outcome.duration, 4),
            "text": outcome.text,
            "hypotheses": [self.hypothesis(hypothesis) for hypothesis in outcome.hypotheses],
            **({"segments": [*map(self.segment, outcome.segments)]} if outcome.segments else {}),
        }

    def segment(self, segment: Segment) -> dict[str, Any]:
        """What is told of a part of a long recording."""
        return {
            "start": round(segment.start, 4),
            "end": round(segment.end, 4),
            "text": segment.hypotheses[0].text,
            "hypotheses": [self.hypothesis(hypothesis) for hypothesis in segment.hypotheses],
        }

    def hypothesis(self, hypothesis: Hypothesis) -> dict[str, Any]:
        """Rounded beyond what a processor's arithmetic decides, so that outputs can be compared."""
        values = {
            "text": hypothesis.text,
            "score": round(hypothesis.score, 3),
            "acoustic_score": round(hypothesis.acoustic_score, 3),
            "lm_score": round(hypothesis.lm_score, 3),
            "bonus_score": round(hypothesis.bonus_score, 3),
            "confidence": round(hypothesis.confidence, 3),
            **({"search": hypothesis.search} if hypothesis.search else {}),
            "words": [_rounded(asdict(word)) for word in hypothesis.words],
        }
        if hypothesis.spoken_text is not None:
            values["spoken_text"] = hypothesis.spoken_text
            values["spoken_words"] = [_rounded(asdict(word)) for word in hypothesis.spoken_words]
        if self.tokens:
            values["tokens"] = [_rounded(asdict(token)) for token in hypothesis.tokens]
        return values


class SrtWriter(ResultWriter):
    """SubRip: numbered cues of a few words each, in time order, none overlapping the next but where
    channels do, whose cues begin with their number.
    """

    suffix = "srt"
    of_one = True

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self._cues = 0

    def render(self, source: Source, results: Sequence[Result]) -> str:
        blocks = []
        for start, end, text, channel in _cues(results):
            self._cues += 1
            times = f"{_clock(start, ',')} --> {_clock(end, ',')}"
            voice = f"[{channel}] " if channel else ""
            blocks.append(f"{self._cues}\n{times}\n{voice}{text}\n\n")
        return "".join(blocks)


class VttWriter(ResultWriter):
    """WebVTT: the cues of SubRip, without numbers, under a head; a channel is a voice."""

    suffix = "vtt"
    of_one = True

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self._begun = False

    def render(self, source: Source, results: Sequence[Result]) -> str:
        if not _transcripts(results):
            return ""
        blocks = [] if self._begun else ["WEBVTT\n\n"]
        self._begun = True
        for start, end, text, channel in _cues(results):
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            voice = f"<v Channel {channel}>" if channel else ""
            blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{voice}{text}\n\n")
        return "".join(blocks)


class CtmWriter(ResultWriter):
    """NIST sclite's CTM, a line a word: file, channel, start, duration, word, confidence.

    A comment tells of a failure, so that no file goes missing.
    """

    suffix = "ctm"

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self._ids = dict(zip(sources, _file_ids(sources), strict=True))

    def render(self, source: Source, results: Sequence[Result]) -> str:
        return "".join(self._lines(self._ids[source], result) for result in results)

    def _lines(self, file_id: str, result: Result) -> str:
        outcome, channel = result.outcome, result.channel or CTM_CHANNEL
        if isinstance(outcome, AsrError):
            return f";; {one_line(outcome)}\n"
        return "".join(
            f"{file_id} {channel} {word.start:.3f} {max(word.end - word.start, 0.0):.3f} "
            f"{word.text} {word.confidence:.3f}\n"
            for word in outcome.hypotheses[0].timed_words()
        )


class TextGridWriter(ResultWriter):
    """A TextGrid of all results together; nothing where there is none."""

    suffix = "TextGrid"
    of_one = True

    def render(self, source: Source, results: Sequence[Result]) -> str:
        transcripts = _transcripts(results)
        if not transcripts:
            return ""
        ends = [r.start + r.outcome.duration for r in results if isinstance(r.outcome, Transcript)]
        return to_textgrid([transcript.hypotheses[0] for transcript in transcripts], max(ends))


def _transcripts(results: Sequence[Result]) -> list[Transcript]:
    return [result.outcome for result in results if isinstance(result.outcome, Transcript)]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()
    }


# Subtitles


def _cues(results: Sequence[Result]) -> list[tuple[float, float, str, int]]:
    """Start, end (seconds), text and channel of each cue, in the order of their starts."""
    words: dict[int, list[Word]] = {}
    for result in results:
        if isinstance(result.outcome, Transcript):
            spoken = result.outcome.hypotheses[0].timed_words()
            words.setdefault(result.channel, []).extend(spoken)
    cues = [cue for channel in words for cue in _cues_of(channel, words[channel])]
    return sorted(cues, key=lambda cue: cue[0]) if len(words) > 1 else cues


def _cues_of(channel: int, words: Sequence[Word]) -> Iterator[tuple[float, float, str, int]]:
    groups = list(group_words(words))
    for index, group in enumerate(groups):
        start = group[0].start
        end = max(group[-1].end, start + MIN_CUE_SECONDS)
        if index + 1 < len(groups):
            end = min(end, groups[index + 1][0].start)
        yield start, end, " ".join(word.text for word in group), channel


def group_words(words: Sequence[Word]) -> Iterator[list[Word]]:
    """``words`` as cues divide them: where there is a pause, and before a cue gets too long."""
    group: list[Word] = []
    for word in words:
        if group and _ends_before(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends_before(group: list[Word], word: Word) -> bool:
    characters = sum(len(w.text) + 1 for w in group) + len(word.text)
    return (
        characters > MAX_CUE_CHARACTERS
        or word.end - group[0].start > MAX_CUE_SECONDS
        or word.start - group[-1].end > MAX_PAUSE_SECONDS
    )


def _clock(seconds: float, mark: str) -> str:
    """``HH:MM:SS,mmm``, with ``mark`` before the milliseconds."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{rest:03d}"


# CTM


def _file_ids(sources: Sequence[Source]) -> list[str]:
    """Names without folder and suffix, or with more of the path where two would be the same.

    CTM separates fields by spaces, so a space in a name becomes an underscore.
    """
    paths = [Path(source.path) for source in sources]
    names: list[str] = []
    for given in (
        [Path(source.name).name for source in sources],
        [str(path.with_suffix("")) for path in paths],
        [str(path) for path in paths],
        [f"{path}-{number}" for number, path in enumerate(paths, start=1)],
    ):
        names = ["_".join(name.split()) for name in given]
        if len(set(names)) == len(set(sources)):
            break
    return names
