"""``asr plot``: one utterance and what the model makes of it, in a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.cli.model import add_bundle, with_bundle
from asr.cli.recognition import add_recognition, load_to_decode
from asr.cli.results import inputs_of
from asr.cli.terminal import printable
from asr.files.write import check_target
from asr.types import AudioError, ConfigError

__all__ = ["add_plot"]


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = "Draw waveform, spectrogram, token posteriors and tokens of one utterance."
    parser.set_defaults(run=with_bundle(_plot))
    add_bundle(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="WAV, FLAC, OGG, MP3, M4A, WebM, AIFF, AU, CAF or NIST SPHERE",
    )
    parser.add_argument("--output", metavar="PNG", required=True, help="picture to write")
    add_recognition(parser)


def _plot(options: argparse.Namespace) -> int:
    from asr.audio import read_audio
    from asr.plots import check_picture_path, draw_utterance, save_picture

    if len(options.files) != 1:
        raise ConfigError(f"{len(options.files)} files to draw", remedy="give one FILE")
    [file] = options.files
    check_picture_path(options.output)
    check_target(options.output, [*inputs_of(options), file])
    recognizer, decoder = load_to_decode(options)
    waveform = read_audio(file, limits=recognizer.limits)
    try:
        log_probs, lengths = recognizer.log_probs([waveform])
    except AudioError as error:
        raise error.at(file) from None
    figure = draw_utterance(
        waveform,
        log_probs[0, : int(lengths[0])].numpy(),
        recognizer.tokenizer.tokens,
        decoder.decode(log_probs, lengths)[0][0],
        recognizer.seconds_per_frame,
        title=printable(Path(file).name),
    )
    save_picture(figure, options.output)
    return 0
