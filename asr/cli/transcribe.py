"""``asr transcribe``: what is said in audio files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asr.cli.recognition import add_recognition, chosen_decoder, load_recognizer
from asr.cli.terminal import FAILURE, complain, one_line, open_output, progress
from asr.cli.writers import file_ids, to_ctm, to_json, to_srt, to_text
from asr.options import BATCH_SECONDS
from asr.types import AsrError, ConfigError, Transcript

__all__ = ["add_transcribe"]

FORMATS = ("text", "json", "srt", "ctm")


def add_transcribe(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = "Write what is said in audio files, in the order given."
    parser.set_defaults(run=_transcribe)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("files", metavar="FILE", nargs="+", help="WAV, FLAC, OGG or NIST SPHERE")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text; json: one object a line; srt: subtitles; ctm: timed words (default: text)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="file to write, or folder for the subtitles of several files (default: stdout)",
    )
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=BATCH_SECONDS,
        metavar="S",
        help="audio recognised at once, in seconds (default: %(default)g)",
    )
    add_recognition(parser)


def _transcribe(options: argparse.Namespace) -> int:
    from asr.transcribe import in_order, transcribe_files

    files: list[str] = options.files
    with _writer(options) as write:
        recognizer = load_recognizer(options)
        decoder = chosen_decoder(options, recognizer)
        failures = 0
        with progress(len(files), "transcribing") as (advance, hidden):
            outcomes = transcribe_files(
                recognizer,
                files,
                decoder,
                batch_seconds=options.batch_seconds,
                on_done=advance,
            )
            for index, outcome in in_order(outcomes):
                with hidden():
                    if isinstance(outcome, AsrError):
                        failures += 1
                        complain(str(outcome))
                    write(index, outcome)
    if failures and len(files) > 1:
        complain(f"{failures} of {len(files)} files could not be transcribed")
    return FAILURE if failures else 0


Write = Callable[[int, "Transcript | AsrError"], None]


@contextmanager
def _writer(options: argparse.Namespace) -> Iterator[Write]:
    """A function that writes the result of the file of that index, to be called in order."""
    files: list[str] = options.files
    if options.format == "srt" and len(files) > 1:
        yield _subtitle_writer(files, options.output)
        return
    render = _renderer(options.format, files)
    with open_output(options.output) as stream:

        def write(index: int, outcome: Transcript | AsrError) -> None:
            print(render(index, outcome), end="", file=stream or sys.stdout, flush=True)

        yield write


def _renderer(form: str, files: Sequence[str]) -> Callable[[int, Transcript | AsrError], str]:
    """Formats one result. JSON and CTM tell of a failure too, so that no file goes missing."""
    ids = file_ids(files)

    def render(index: int, outcome: Transcript | AsrError) -> str:
        file = files[index]
        if isinstance(outcome, AsrError):
            return {"json": to_json(outcome, file), "ctm": f";; {one_line(outcome)}\n"}.get(
                form, ""
            )
        if form == "json":
            return to_json(outcome, file)
        if form == "srt":
            return to_srt(outcome)
        if form == "ctm":
            return to_ctm(outcome, ids[index])
        return to_text(outcome, file if len(files) > 1 else None)

    return render


def _subtitle_writer(files: Sequence[str], output: str | None) -> Write:
    """Subtitles number their cues from 1, so each file has its own."""
    if output is None:
        raise ConfigError(
            "subtitles of several files do not fit into one stream",
            remedy="give --output FOLDER, or one file at a time",
        )
    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ConfigError(
            f"two files would both write {twice}.srt", remedy="transcribe them separately"
        )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    def write(index: int, outcome: Transcript | AsrError) -> None:
        if isinstance(outcome, Transcript):
            (folder / f"{stems[index]}.srt").write_text(to_srt(outcome), encoding="utf-8")

    return write
