"""The ``asr`` command: transcribe or align files, draw an utterance, write ONNX, ARPA or graphs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from asr import __version__
from asr.cli.align import add_align
from asr.cli.calibrate import add_calibrate
from asr.cli.export import add_export
from asr.cli.graph import add_graph
from asr.cli.info import add_info
from asr.cli.lm import add_lm
from asr.cli.plot import add_plot
from asr.cli.terminal import run_command
from asr.cli.transcribe import add_transcribe
from asr.cli.tune import add_tune
from asr.files.read import STDIN
from asr.spinning import spin_little

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: all done. 2: something failed, said on stderr in one line each. 130: interrupted.
    """
    spin_little()
    return run_command("asr", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _options(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says; options may stand between a bundle and files."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:
        # argparse has given all the files there are before the first option.
        strangers = [text for text in rest if text.startswith("-") and text != STDIN]
        if strangers or not hasattr(options, "files"):
            parser.error(f"unrecognized arguments: {' '.join(strangers or rest)}")
        options.files += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="asr", description="Speech to text with a model bundle.")
    parser.add_argument("--version", action="version", version=f"peephole-asr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_transcribe(commands.add_parser("transcribe", help="write what is said in audio files"))
    add_align(commands.add_parser("align", help="write when each word of known texts was said"))
    add_plot(commands.add_parser("plot", help="draw one utterance and what the model makes of it"))
    add_info(commands.add_parser("info", help="say what a model bundle is"))
    add_export(commands.add_parser("export", help="write the model as an ONNX file"))
    add_tune(commands.add_parser("tune", help="find the decoder's weights on texts that are known"))
    add_calibrate(
        commands.add_parser("calibrate", help="make confidences mean something, on known texts")
    )
    add_lm(commands.add_parser("lm", help="make and measure language models"))
    add_graph(commands.add_parser("graph", help="make a decoding graph from a language model"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
