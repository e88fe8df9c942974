"""``asr align``: when each word and token of known texts was said."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.terminal import FAILURE, complain, one_line, open_output, progress
from asr.cli.textgrid import to_textgrid
from asr.cli.writers import file_ids, to_ctm, to_dict
from asr.types import AsrError, ConfigError, Hypothesis, Transcript

if TYPE_CHECKING:
    from asr.cli.segments import Passage

__all__ = ["add_align"]

FORMATS = ("textgrid", "ctm", "json")
Outcome = Transcript | AsrError
# Takes all passages of one file with what became of each.
Write = Callable[[Sequence["Passage"], Sequence[Outcome]], None]


def add_align(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the arguments of the command, and its function as the default ``run``."""
    parser.description = (
        "Write when each word and token of known texts was said. The text of a FILE is in a file "
        "of the same name that ends in .txt or .lab, or is given by one of the options."
    )
    parser.set_defaults(run=_align)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("files", metavar="FILE", nargs="*", help="WAV, FLAC, OGG or NIST SPHERE")
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
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--backend", default="auto", help="torch, onnx or onnx-int8 (default: as for transcribe)"
    )


def _align(options: argparse.Namespace) -> int:
    from asr.cli.segments import LIMITS, align_passages
    from asr.decoding.align import SPIKES, AlignConfig
    from asr.recognizer import Recognizer

    passages = _passages(options)
    config = SPIKES if options.spikes else AlignConfig()
    failures = 0
    with _writer(options, passages) as write:
        recognizer = Recognizer.load(
            options.bundle, options.device, backend=options.backend, limits=LIMITS
        )
        with progress(len(passages), "aligning") as (advance, hidden):
            outcomes = align_passages(recognizer, passages, config)
            for _, group in groupby(passages, key=lambda passage: passage.audio):
                of_file = list(group)
                done: list[Outcome] = []
                for _ in of_file:
                    done.append(next(outcomes))
                    advance(1)
                failed = [outcome for outcome in done if isinstance(outcome, AsrError)]
                failures += len(failed)
                with hidden():
                    for error in failed:
                        complain(str(error))
                    write(of_file, done)
    if failures and len(passages) > 1:
        complain(f"{failures} of {len(passages)} texts could not be aligned")
    return FAILURE if failures else 0


def _passages(options: argparse.Namespace) -> list[Passage]:
    from asr.cli.segments import Passage, read_pairs, read_segments

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
        return [Passage(file) for file in files]
    if len(files) > 1:
        raise ConfigError(
            f"one text for {len(files)} files", remedy="give one FILE, or --pairs for many"
        )
    if options.segments is not None:
        return read_segments(options.segments, files[0])
    return [Passage(files[0], options.text)]


# Where results go


@contextmanager
def _writer(options: argparse.Namespace, passages: Sequence[Passage]) -> Iterator[Write]:
    """A function that writes what became of one file, to be called in order."""
    files = list(dict.fromkeys(passage.audio for passage in passages))
    if options.segments is None and len(files) < len(passages):
        raise ConfigError(
            "a file is named more than once", remedy="give all its text at once, or --segments"
        )
    if options.format == "textgrid" and len(files) > 1:
        yield _folder_writer(files, options.output)
        return
    ids = dict(zip(files, file_ids(files), strict=True))
    renderers = {"textgrid": _textgrid, "ctm": _ctm, "json": _json}
    render = renderers[options.format]
    with open_output(options.output) as stream:

        def write(passages: Sequence[Passage], outcomes: Sequence[Outcome]) -> None:
            text = render(passages, outcomes, ids[passages[0].audio])
            print(text, end="", file=stream or sys.stdout, flush=True)

        yield write


def _textgrid(passages: Sequence[Passage], outcomes: Sequence[Outcome], _: str) -> str:
    """Nothing where nothing could be aligned."""
    done = [(p, o) for p, o in zip(passages, outcomes, strict=True) if isinstance(o, Transcript)]
    if not done:
        return ""
    hypotheses: list[Hypothesis] = [transcript.hypotheses[0] for _, transcript in done]
    return to_textgrid(hypotheses, max(p.start + t.duration for p, t in done))


def _ctm(passages: Sequence[Passage], outcomes: Sequence[Outcome], file_id: str) -> str:
    """A comment tells of a failure, so that no text goes missing."""
    return "".join(
        f";; {one_line(o)}\n" if isinstance(o, AsrError) else to_ctm(o, file_id) for o in outcomes
    )


def _json(passages: Sequence[Passage], outcomes: Sequence[Outcome], _: str) -> str:
    lines = []
    for passage, outcome in zip(passages, outcomes, strict=True):
        segment = {} if passage.end is None else {"start": passage.start, "end": passage.end}
        if isinstance(outcome, AsrError):
            values = {"file": passage.audio, **segment, "error": outcome.public_message()}
        else:
            (aligned,) = to_dict(outcome, passage.audio)["hypotheses"]
            duration = round(outcome.duration, 4)
            values = {"file": passage.audio, **segment, "duration": duration, **aligned}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    return "".join(lines)


def _folder_writer(files: Sequence[str], output: str | None) -> Write:
    """A TextGrid is a file of its own."""
    if output is None:
        raise ConfigError(
            "TextGrids of several files do not fit into one stream",
            remedy="give --output FOLDER, or one file at a time",
        )
    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ConfigError(
            f"two files would both write {twice}.TextGrid", remedy="align them separately"
        )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    def write(passages: Sequence[Passage], outcomes: Sequence[Outcome]) -> None:
        if grid := _textgrid(passages, outcomes, ""):
            path = folder / f"{Path(passages[0].audio).stem}.TextGrid"
            path.write_text(grid, encoding="utf-8")

    return write
