"""The ``asr-client`` command: transcribe files with a server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TextIO

import grpc

from server.client import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Client,
    ClientError,
    Hypothesis,
    RecognitionConfig,
    Transcription,
)

__all__ = ["main"]

FAILURE = 2  # as argparse
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
ENCODINGS = ("LINEAR16", "FLOAT")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: all done. 2: something failed, said on stderr in one line each. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        with Client(options.address, timeout=options.timeout) as client:
            return _transcribe(client, options)
    except ClientError as error:
        _complain(error)
    except BrokenPipeError:
        # The reader (say, `head`) has enough; without this Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-client", description="Write what is said in audio files, by an asr-server."
    )
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+", help="WAV, FLAC, OGG, NIST SPHERE or raw samples")
    add("--address", default=DEFAULT_ADDRESS, help="host:port of the server (default: %(default)s)")
    add(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text; json: one object a line, with times and confidences (default: text)",
    )
    add("--output", metavar="PATH", help="file to write (default: stdout)")
    add("--decoder", default="", help="greedy, beam or prefix (default: the model's)")
    add("--beam-width", type=int, default=0, metavar="K", help="hypotheses kept while decoding")
    add("--alternatives", type=int, default=0, metavar="N", help="hypotheses to give")
    add(
        "--encoding",
        choices=ENCODINGS,
        help="the files are raw samples of this kind, little-endian",
    )
    add("--sample-rate", type=int, default=0, metavar="HZ", help="rate of raw samples")
    add("--channels", type=int, default=0, metavar="C", help="channels of raw samples (default: 1)")
    add(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        metavar="S",
        help="how long one file may take, in seconds (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _config(options: argparse.Namespace) -> RecognitionConfig:
    try:
        return RecognitionConfig(
            encoding=f"AUDIO_ENCODING_{options.encoding or 'UNSPECIFIED'}",
            sample_rate_hertz=options.sample_rate,
            audio_channel_count=options.channels,
            decoder=options.decoder,
            beam_width=options.beam_width,
            max_alternatives=options.alternatives,
            enable_word_time_offsets=options.format == "json",
        )
    except ValueError as error:  # beyond 32 bits
        raise ClientError(f"an option is out of range: {error}") from None


def _transcribe(client: Client, options: argparse.Namespace) -> int:
    """One file after the other; a bad one does not lose the others, a lost server does."""
    files: list[str] = options.files
    config = _config(options)
    failures = 0
    with _stream(options.output) as stream:
        for index, file in enumerate(files):
            _show_progress(index, file, len(files))
            outcome: Transcription | ClientError
            try:
                outcome = client.transcribe_file(file, config)
            except ClientError as error:
                outcome = error
            _show_progress()
            if isinstance(outcome, ClientError):
                failures += 1
                _complain(f"{file}: {outcome}")
            stream.write(_render(outcome, options.format, file, many=len(files) > 1))
            stream.flush()
            if isinstance(outcome, ClientError) and outcome.code == grpc.StatusCode.UNAVAILABLE:
                failures += len(files) - index - 1
                break
    if failures and len(files) > 1:
        _complain(f"{failures} of {len(files)} files could not be transcribed")
    return FAILURE if failures else 0


@contextmanager
def _stream(output: str | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with open(output, "w", encoding="utf-8") as stream:
        yield stream


# Formats, the same as those of `asr transcribe`


def _render(outcome: Transcription | ClientError, form: str, file: str, *, many: bool) -> str:
    """One result. JSON tells of a failure too, so that no file goes missing."""
    if form == "json":
        return json.dumps(_to_dict(outcome, file), ensure_ascii=False) + "\n"
    if isinstance(outcome, ClientError):
        return ""
    lines = []
    for rank, hypothesis in enumerate(outcome.hypotheses, start=1):
        ranks = [str(rank)] if len(outcome.hypotheses) > 1 else []
        lines.append("\t".join([*([file] if many else []), *ranks, hypothesis.text]) + "\n")
    return "".join(lines)


def _to_dict(outcome: Transcription | ClientError, file: str) -> dict[str, Any]:
    """Plain values; times in seconds, scores natural logarithms."""
    if isinstance(outcome, ClientError):
        return {"file": file, "error": str(outcome)}
    return {
        "file": file,
        "duration": round(outcome.duration, 4),
        "text": outcome.text,
        "hypotheses": [_hypothesis(hypothesis) for hypothesis in outcome.hypotheses],
    }


def _hypothesis(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "text": hypothesis.text,
        "score": round(hypothesis.score, 3),
        "confidence": round(hypothesis.confidence, 3),
        "words": [
            {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in asdict(word).items()
            }
            for word in hypothesis.words
        ],
    }


# What a person sees


def _show_progress(index: int = 0, file: str = "", total: int = 0) -> None:
    """Which file of how many is being transcribed, on a terminal; without arguments: wipe it."""
    if sys.stderr.isatty():
        line = f"{index + 1}/{total} {file}" if file else ""
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _complain(message: object) -> None:
    print(f"asr-client: error: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
