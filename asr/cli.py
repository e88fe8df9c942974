"""The ``asr`` command: transcribe or align files, draw an utterance, write ONNX, ARPA or graphs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asr import __version__
from asr.cli_align import add_align
from asr.cli_decode import add_recognition, chosen_decoder, chosen_phrases, load_recognizer
from asr.cli_graph import add_graph
from asr.cli_lm import add_lm
from asr.cli_tune import add_tune
from asr.options import BATCH_SECONDS
from asr.output import file_ids, to_ctm, to_json, to_srt, to_text
from asr.terminal import FAILURE, complain, one_line, open_output, progress
from asr.types import AsrError, ConfigError, Transcript

__all__ = ["main"]

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
FORMATS = ("text", "json", "srt", "ctm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: all done. 2: something failed, said on stderr in one line each. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except AsrError as error:
        complain(str(error))
    except BrokenPipeError:
        # The reader (say, `head`) has enough; without this Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="asr", description="Speech to text with a model bundle.")
    parser.add_argument("--version", action="version", version=f"peephole-asr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_transcribe(commands.add_parser("transcribe", help="write what is said in audio files"))
    add_align(commands.add_parser("align", help="write when each word of known texts was said"))
    _add_plot(commands.add_parser("plot", help="draw one utterance and what the model makes of it"))
    _add_export(commands.add_parser("export", help="write the model as an ONNX file"))
    add_tune(commands.add_parser("tune", help="find the decoder's weights on texts that are known"))
    add_lm(commands.add_parser("lm", help="make and measure language models"))
    add_graph(commands.add_parser("graph", help="make a decoding graph from a language model"))
    return parser


def _add_transcribe(parser: argparse.ArgumentParser) -> None:
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


def _add_plot(parser: argparse.ArgumentParser) -> None:
    parser.description = "Draw waveform, spectrogram, token posteriors and tokens of one utterance."
    parser.set_defaults(run=_plot)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("file", metavar="FILE", help="WAV, FLAC, OGG or NIST SPHERE")
    parser.add_argument("--output", metavar="PNG", required=True, help="picture to write")
    add_recognition(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a bundle's acoustic model, features to log-probabilities, as an ONNX file for other "
        "runtimes. Its metadata hold the tokens, and the front end's options and statistics."
    )
    parser.set_defaults(run=_export)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("--output", metavar="ONNX", required=True, help="file to write")
    parser.add_argument(
        "--int8", action="store_true", help="with 8-bit matrices, which ONNX Runtime alone can read"
    )


def _transcribe(options: argparse.Namespace) -> int:
    from asr.decoding.wfst.graph import load_graph
    from asr.transcribe import in_order, transcribe_files

    files: list[str] = options.files
    with _writer(options) as write:
        recognizer = load_recognizer(options)
        decoder = chosen_decoder(options, recognizer.bundle.decoder)
        phrases = chosen_phrases(options)
        if decoder.graph is not None:
            load_graph(decoder.graph, recognizer.tokenizer)  # fails once, not for each file
        failures = 0
        with progress(len(files), "transcribing") as (advance, hidden):
            outcomes = transcribe_files(
                recognizer,
                files,
                decoder,
                phrases=phrases,
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


def _plot(options: argparse.Namespace) -> int:
    from asr.audio import read_audio
    from asr.plots import check_picture_path, draw_utterance, save_picture

    check_picture_path(options.output)
    recognizer = load_recognizer(options)
    decoder = chosen_decoder(options, recognizer.bundle.decoder)
    waveform = read_audio(options.file, limits=recognizer.limits)
    log_probs, lengths = recognizer.log_probs([waveform])
    figure = draw_utterance(
        waveform,
        log_probs[0, : int(lengths[0])].numpy(),
        recognizer.tokenizer.tokens,
        recognizer.decode(log_probs, lengths, decoder, phrases=chosen_phrases(options))[0][0],
        recognizer.seconds_per_frame,
        title=Path(options.file).name,
    )
    save_picture(figure, options.output)
    return 0


def _export(options: argparse.Namespace) -> int:
    from asr.bundle import load_bundle
    from asr.export import save_onnx

    bundle = load_bundle(options.bundle)
    metadata = {
        "name": bundle.name,
        "tokens": json.dumps(bundle.tokenizer.tokens, ensure_ascii=False),
        "features": json.dumps(bundle.extractor.config.to_dict()),
        "statistics": json.dumps({k: v.tolist() for k, v in bundle.extractor.state_dict().items()}),
    }
    save_onnx(bundle.model, options.output, int8=options.int8, metadata=metadata)
    return 0


# Where results go

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


if __name__ == "__main__":
    sys.exit(main())
