"""``asr transcribe``: what is said in audio files."""

from __future__ import annotations

import argparse
import math

from asr.cli.model import add_bundle, with_bundle
from asr.cli.recognition import add_recognition
from asr.cli.results import inputs_of, open_results
from asr.cli.terminal import FAILURE, complain, progress
from asr.cli.writers import CtmWriter, JsonWriter, Result, SrtWriter, TextWriter, VttWriter
from asr.files.find import find_audio
from asr.options import BATCH_SECONDS, SEGMENT_SECONDS
from asr.types import AsrError, ConfigError

__all__ = ["add_transcribe"]

FORMATS = {
    "text": TextWriter,
    "json": JsonWriter,
    "srt": SrtWriter,
    "vtt": VttWriter,
    "ctm": CtmWriter,
}


def add_transcribe(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = "Write what is said in audio files, in the order given."
    parser.set_defaults(run=with_bundle(_transcribe))
    add_bundle(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="WAV, FLAC, OGG, MP3, M4A, WebM, AIFF, AU, CAF or NIST SPHERE; a folder stands for "
        "the audio files in and below it, - for standard input",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text; json: one object a line; srt, vtt: subtitles; ctm: timed words (default: text)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="file to write, or folder for the subtitles of several files (default: stdout)",
    )
    parser.add_argument(
        "--written",
        action="store_true",
        help="write numbers, dates, times, money and measures as people write them, "
        '"$23" for "twenty three dollars" (inverse text normalisation; English; extra itn)',
    )
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=BATCH_SECONDS,
        metavar="S",
        help="audio recognised at once, in seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--segment-seconds",
        type=float,
        default=SEGMENT_SECONDS,
        metavar="S",
        help="longer recordings are cut at pauses into segments of a third of this and up to it, "
        "and take the memory of one; 3 to 3600 (default: %(default)g)",
    )
    _add_gate(parser)
    _add_job(parser)
    add_recognition(parser)


def _add_gate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("audio without words").add_argument
    add(
        "--silence-gate",
        type=float,
        default=-math.inf,
        metavar="DB",
        help="no text for audio whose loudest 50 ms are below this level; -60 suits recordings at "
        "usual levels (default: for digital silence only)",
    )
    add(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="C",
        help="no text where the best is less sure than this (default: %(default)g)",
    )


def _add_job(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("jobs over many files").add_argument
    add(
        "--job",
        metavar="FOLDER",
        help="write a file for each recording into FOLDER, and what is done into its manifest; the "
        "same command again goes on where it ended",
    )
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="who does the job: this process, or workers of Ray (default: local)",
    )
    add("--workers", type=int, metavar="N", help="of Ray (default: one a processor or GPU)")
    add(
        "--shard",
        metavar="I/N",
        help="do the I-th part, from 0, of N alone; others do the rest, in the same FOLDER",
    )


def _transcribe(options: argparse.Namespace) -> int:
    if not options.files:
        raise ConfigError("no audio to transcribe", remedy="give FILEs, folders, or -")
    if options.job is not None:
        from asr.cli.job import run_job

        return run_job(options, FORMATS[options.format])
    if options.engine != "local" or options.shard is not None or options.workers is not None:
        raise ConfigError(
            "--engine, --workers and --shard are for jobs", remedy="give --job FOLDER as well"
        )
    from asr.cli.transcriber import Transcriber
    from asr.transcribe import in_order

    sources = find_audio(options.files)
    with open_results(
        FORMATS[options.format], sources, options.output, inputs_of(options)
    ) as write:
        transcribe = Transcriber(options)
        failures = 0
        with progress(len(sources), "transcribing") as (advance, hidden):
            outcomes = transcribe([source.path for source in sources], advance)
            for index, outcome in in_order(outcomes):
                with hidden():
                    if isinstance(outcome, AsrError):
                        failures += 1
                        complain(str(outcome))
                    write(index, [Result(outcome)])
    if failures and len(sources) > 1:
        complain(f"{failures} of {len(sources)} files could not be transcribed")
    return FAILURE if failures else 0
