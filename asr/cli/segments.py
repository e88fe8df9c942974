"""Which text is said where in which file, and its alignment: what ``asr align`` works on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio import AudioLimits, probe, read_audio
from asr.decoding.align import AlignConfig, align
from asr.decoding.lexicon import Lexicon
from asr.files.read import STDIN, Line, is_pipe, read_lines, read_text
from asr.recognizer import Recognizer
from asr.types import AsrError, ConfigError, Transcript, Waveform

__all__ = ["LIMITS", "Segment", "align_segments", "read_pairs", "read_segments", "text_beside"]

LIMITS = AudioLimits(  # one's own files, on one's own machine
    max_bytes=2**31, max_seconds=36_000.0, max_decoded_bytes=2**33, max_expansion=math.inf
)
BESIDE = (".txt", ".lab")
OF_DESCRIPTORS = ("/dev", "/dev/fd", "/proc/self/fd")  # folders of no recordings


@dataclass(frozen=True)
class Segment:
    """A text and where it is said: in ``audio`` from ``start`` to ``end`` seconds, or to its end.

    Without a text, that of a file beside the audio counts: same name, ending in .txt or .lab.
    """

    audio: str
    text: str | None = None
    start: float = 0.0
    end: float | None = None

    @property
    def name(self) -> str:
        """For messages."""
        if self.end is None:
            return self.audio
        return f"{self.audio}, {self.start:g} to {self.end:g} s"


def read_pairs(path: str) -> list[Segment]:
    """Segments of a file of lines ``audio<TAB>text``; paths are relative to its folder, or to the
    working directory if the file is a descriptor such as ``/dev/fd/63``.

    Raises:
        ConfigError: the file cannot be read, or a line is not such a pair.
    """
    segments = []
    folder = Path(path).parent
    if str(folder) in OF_DESCRIPTORS:
        folder = Path()
    for where, line in _lines(path):
        audio, tab, text = line.partition("\t")
        if not tab or not audio.strip() or "\0" in audio:
            raise ConfigError("not audio, a tab and text", where=where, remedy="mend the line")
        segments.append(Segment(str(folder / audio.strip()), text))
    return segments


def read_segments(path: str, audio: str) -> list[Segment]:
    """Segments of ``audio``: lines ``start end text``, or JSON objects with these three keys.

    Raises:
        ConfigError: the file cannot be read, or a line is no segment or begins before the end of
            the one above.
    """
    segments: list[Segment] = []
    for where, line in _lines(path):
        start, end, text = _segment(line, where)
        before = segments[-1].end if segments else 0.0
        if not (before or 0.0) <= start < end < math.inf:
            raise ConfigError(
                f"the segment lasts from {start:g} to {end:g} s",
                where=where,
                remedy="give segments in order of time, none over another, none empty",
            )
        segments.append(Segment(audio, text, start, end))
    return segments


def _segment(line: str, where: str) -> tuple[float, float, str]:
    try:
        if line.lstrip().startswith("{"):
            values = json.loads(line)
            start, end, text = values["start"], values["end"], values["text"]
            if not isinstance(text, str):
                raise TypeError(text)
        else:
            start, end, text = [*line.split(maxsplit=2), ""][:3]
        return float(start), float(end), text
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise ConfigError(
            "not a segment",
            where=where,
            remedy='give "start end text" in seconds, or a JSON object with start, end and text',
        ) from None


def _lines(path: str) -> list[Line]:
    lines = read_lines(path, ConfigError)
    if not lines:
        raise ConfigError("the file is empty", where=path, remedy="give one segment a line")
    return lines


def align_segments(
    recognizer: Recognizer,
    segments: Sequence[Segment],
    config: AlignConfig,
    lexicon: Lexicon | None = None,
) -> Iterator[Transcript | AsrError]:
    """The alignment of each segment, in order, or the error that kept it from one.

    Times count from the beginning of the file. One file's audio is in memory at a time.
    """
    audio, waveform = "", None
    for segment in segments:
        try:
            text = _text_of(segment)
            if waveform is None or audio != segment.audio:
                waveform = read_audio(segment.audio, limits=LIMITS)
                audio = segment.audio
            yield _align(recognizer, _cut(waveform, segment), text, segment, config, lexicon)
        except AsrError as error:
            yield error.at(segment.name)


def text_beside(audio: str) -> Path | None:
    """The file that has the text of ``audio``, if there is one."""
    if audio == STDIN:
        return None
    found = (path for path in map(Path(audio).with_suffix, BESIDE) if path.is_file())
    return next(found, None)


def _text_of(segment: Segment) -> str:
    if segment.text is not None:
        return segment.text
    found = text_beside(segment.audio)
    if found is None:
        if not is_pipe(segment.audio):
            probe(segment.audio)  # if there is no audio either, that is the error to tell
        raise ConfigError(
            f"no text beside the audio ({' or '.join(BESIDE)})",
            where=segment.audio,
            remedy="write one, or give --text, --segments or --pairs",
        )
    return read_text(found, ConfigError)


def _cut(waveform: Waveform, segment: Segment) -> Waveform:
    if segment.end is None:
        return waveform
    rate = waveform.sample_rate
    if segment.start >= waveform.duration:
        raise ConfigError(
            f"the audio ends at {waveform.duration:.3f} s",
            remedy="check that segments and audio belong together",
        )
    first, last = round(segment.start * rate), round(min(segment.end, waveform.duration) * rate)
    return Waveform(waveform.samples[first:last], rate)


def _align(
    recognizer: Recognizer,
    waveform: Waveform,
    text: str,
    segment: Segment,
    config: AlignConfig,
    lexicon: Lexicon | None,
) -> Transcript:
    log_probs, lengths = recognizer.log_probs([waveform])
    aligned = align(
        log_probs[0, : int(lengths[0])].numpy(),
        text,
        recognizer.tokenizer,
        recognizer.seconds_per_frame,
        config,
        lexicon,
        recognizer.frame_lag,
    )
    placed = aligned.within(waveform.duration).shifted(segment.start)
    return Transcript((placed,), waveform.duration)
