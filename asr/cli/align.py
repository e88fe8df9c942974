"""``asr align``: when each word and token of known texts was said."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from asr.cli.model import add_bundle, with_bundle
from asr.cli.results import inputs_of, open_results
from asr.cli.starting import starting
from asr.cli.terminal import FAILURE, complain, progress
from asr.cli.writers import CtmWriter, JsonWriter, Result, TextGridWriter
from asr.files.find import Source, sources_of
from asr.types import AsrError, ConfigError

if TYPE_CHECKING:
    from asr.cli.segments import Segment
    from asr.decoding.lexicon import Lexicon
    from asr.recognizer import Recognizer

__all__ = ["add_align"]


class _JsonWriter(JsonWriter):
    """A line a text: what was aligned, in which part of the file."""

    def values(self, source: Source, result: Result) -> dict[str, Any]:
        values: dict[str, Any] = {"file": source.path}
        if result.end is not None:
            values |= {"start": result.start, "end": result.end}
        if isinstance(result.outcome, AsrError):
            return {**values, "error": result.outcome.public_message()}
        duration = round(result.outcome.duration, 4)
        aligned = self.hypothesis(result.outcome.hypotheses[0])
        return {**values, "duration": duration, **aligned}


FORMATS = {"textgrid": TextGridWriter, "ctm": CtmWriter, "json": _JsonWriter}


def add_align(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the arguments of the command, and its function as the default ``run``."""
    parser.description = (
        "Write when each word and token of known texts was said. The text of a FILE is in a file "
        "of the same name that ends in .txt or .lab, or is given by one of the options."
    )
    parser.set_defaults(run=with_bundle(_align))
    add_bundle(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="WAV, FLAC, OGG, MP3, M4A, WebM, AIFF, AU, CAF or NIST SPHERE",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--text", help="the text of the one FILE")
    source.add_argument(
        "--segments",
        metavar="PATH",
        help='lines "start end text", seconds, or JSON objects: each is aligned by itself',
    )
    source.add_argument(
        "--pairs", metavar="PATH", help="lines of audio, a tab, and text, instead of FILEs"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="textgrid",
        help="textgrid: for Praat; ctm: timed words; json: one object a text (default: textgrid)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="file to write, or folder for the TextGrids of several files (default: stdout)",
    )
    parser.add_argument(
        "--spikes", action="store_true", help="times of the model's spikes, not of boundaries"
    )
    parser.add_argument(
        "--lexicon",
        metavar="FILE",
        help="for models of phones: how the words of the texts are said, a word and its phones a "
        "line (default: the bundle's own)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="torch, int8, onnx or onnx-int8 (default: as for transcribe)",
    )


def _align(options: argparse.Namespace) -> int:
    from asr.cli.segments import align_segments
    from asr.decoding.align import SPIKES, AlignConfig

    segments = _segments(options)
    sources = _sources(options, segments)
    inputs = [*inputs_of(options), *_texts_beside(segments)]
    config = SPIKES if options.spikes else AlignConfig()
    failures = 0
    with open_results(FORMATS[options.format], sources, options.output, inputs) as write:
        recognizer, lexicon = _load(options)
        with progress(len(segments), "aligning") as (advance, hidden):
            outcomes = align_segments(recognizer, segments, config, lexicon)
            groups = groupby(segments, key=lambda segment: segment.audio)
            for index, (_, of_file) in enumerate(groups):
                done: list[Result] = []
                for segment in of_file:
                    done.append(Result(next(outcomes), segment.start, segment.end))
                    advance(1)
                failed = [r.outcome for r in done if isinstance(r.outcome, AsrError)]
                failures += len(failed)
                with hidden():
                    for error in failed:
                        complain(str(error))
                    write(index, done)
    if failures and len(segments) > 1:
        complain(f"{failures} of {len(segments)} texts could not be aligned")
    return FAILURE if failures else 0


@starting()
def _load(options: argparse.Namespace) -> tuple[Recognizer, Lexicon | None]:
    from asr.bundle import load_bundle
    from asr.cli.recognition import pronunciations
    from asr.cli.segments import LIMITS
    from asr.decoding.lexicon import read_lexicon
    from asr.recognizer import Recognizer

    # The texts are known: no language is used.
    bundle = load_bundle(options.bundle, options.device, uses_language=lambda decoder: False)
    if options.lexicon is not None and bundle.tokenizer.kind != "phones":
        raise ConfigError(
            f"--lexicon is given, and the model writes {bundle.tokenizer.kind}",
            remedy="leave it out: words are spelled as they are written",
        )
    place = options.lexicon or pronunciations(options.bundle, bundle.tokenizer)
    lexicon = None if place is None else read_lexicon(place, bundle.tokenizer)
    recognizer = Recognizer(bundle, options.device, backend=options.backend, limits=LIMITS)
    return recognizer, lexicon


def _segments(options: argparse.Namespace) -> list[Segment]:
    from asr.cli.segments import Segment, read_pairs, read_segments

    files: list[str] = options.files
    if options.pairs is not None:
        if files:
            raise ConfigError(
                "files are given beside --pairs", remedy="name all audio in the file of pairs"
            )
        return read_pairs(options.pairs)
    if not files:
        raise ConfigError("no audio to align", remedy="give FILEs, or --pairs")
    if options.text is None and options.segments is None:
        return [Segment(file) for file in files]
    if len(files) > 1:
        raise ConfigError(
            f"one text for {len(files)} files", remedy="give one FILE, or --pairs for many"
        )
    if options.segments is not None:
        return read_segments(options.segments, files[0])
    return [Segment(files[0], options.text)]


def _sources(options: argparse.Namespace, segments: Sequence[Segment]) -> list[Source]:
    """The files of ``segments``, each once."""
    files = list(dict.fromkeys(segment.audio for segment in segments))
    if options.segments is None and len(files) < len(segments):
        raise ConfigError(
            "a file is named more than once", remedy="give all its text at once, or --segments"
        )
    return sources_of(files)


def _texts_beside(segments: Sequence[Segment]) -> list[str]:
    from asr.cli.segments import text_beside

    beside = (text_beside(segment.audio) for segment in segments if segment.text is None)
    return [str(path) for path in beside if path is not None]
