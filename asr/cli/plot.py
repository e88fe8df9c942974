"""``asr plot``: one utterance and what the model makes of it, in a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.cli.recognition import add_recognition, chosen_decoder, load_recognizer
from asr.cli.results import inputs_of
from asr.cli.terminal import printable
from asr.files.write import check_target

__all__ = ["add_plot"]


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = "Draw waveform, spectrogram, token posteriors and tokens of one utterance."
    parser.set_defaults(run=_plot)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("file", metavar="FILE", help="WAV, FLAC, OGG, AIFF, AU, CAF or NIST SPHERE")
    parser.add_argument("--output", metavar="PNG", required=True, help="picture to write")
    add_recognition(parser)


def _plot(options: argparse.Namespace) -> int:
    from asr.audio import read_audio
    from asr.plots import check_picture_path, draw_utterance, save_picture

    check_picture_path(options.output)
    check_target(options.output, inputs_of(options))
    recognizer = load_recognizer(options)
    decoder = chosen_decoder(options, recognizer)
    waveform = read_audio(options.file, limits=recognizer.limits)
    log_probs, lengths = recognizer.log_probs([waveform])
    figure = draw_utterance(
        waveform,
        log_probs[0, : int(lengths[0])].numpy(),
        recognizer.tokenizer.tokens,
        decoder.decode(log_probs, lengths)[0][0],
        recognizer.seconds_per_frame,
        title=printable(Path(options.file).name),
    )
    save_picture(figure, options.output)
    return 0
