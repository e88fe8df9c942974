"""The ``asr-client`` command: transcribe files or a microphone with a server."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence

# gRPC's core prints what it thinks of a connection. The command says it in one line of its own.
# Read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from server.signals import interrupt_quietly

with interrupt_quietly():  # a traceback out of an import helps nobody
    from asr.cli.results import open_results
    from asr.cli.terminal import FAILURE, complain, run_command
    from asr.cli.writers import Result
    from asr.files.find import Source, find_audio
    from asr.files.read import STDIN
    from asr.types import AsrError
    from server.client import (
        DEFAULT_ADDRESS,
        DEFAULT_RETRIES,
        DEFAULT_TIMEOUT,
        MAX_RETRIES,
        Client,
        ClientError,
        RecognitionConfig,
        Security,
        SpeechContext,
        Transcription,
        read_token,
    )
    from server.client_cli.batch import SkippedError, transcribe_all
    from server.client_cli.live import live_config, stream_files, tell
    from server.client_cli.microphone import Microphone, on_interrupt
    from server.client_cli.output import FORMATS, models_text, result_of, results_of
    from server.client_cli.standard_input import standard_input
    from server.limits import MOST_SECONDS

__all__ = ["main"]

MODEL_FORMATS = ("text", "json")
NAME = "asr-client"
ENCODINGS = ("LINEAR16", "FLOAT", "MULAW", "ALAW")
FIELDS = {  # of messages, and the options that set them
    "sample_rate_hertz": "--sample-rate",
    "audio_channel_count": "--channels",
    "audio_channel": "--channel",
    "enable_separate_recognition_per_channel": "--each-channel",
    "beam_width": "--beam-width",
    "max_alternatives": "--nbest",
    "lm_weight": "--lm-weight",
    "speech_contexts": "--phrase",
    "enable_inverse_text_normalization": "--written",
    "look_ahead": "--look-ahead",
    "single_utterance": "--single-utterance",
}
FIELD = re.compile(rf"(?<![\w'\"-])(?:{'|'.join(FIELDS)})(?![\w'\"-])")  # none that is quoted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: all done. 2: something failed, said on stderr in one line each. 130: interrupted.
    """
    return run_command(NAME, lambda: _run(_parse(arguments)), errors=(ClientError, AsrError))


def _run(options: argparse.Namespace) -> int:
    try:
        with _connect(options) as client:
            if options.list_models:
                print(models_text(client.list_models(), options.format), end="", flush=True)
                return 0
            if options.microphone:
                return _listen(client, options)
            return (_stream if options.stream else _transcribe)(client, options)
    finally:
        _show_progress("")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Write what is said in audio files, by an asr-server."
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="WAV, FLAC, OGG, MP3, M4A, WebM, AIFF, AU, CAF, NIST SPHERE or raw samples; a folder "
        "stands for the audio files in and below it, - for standard input",
    )
    _add_task(parser.add_argument_group("what to do"))
    _add_recognition(parser.add_argument_group("recognition"))
    _add_connection(parser.add_argument_group("connection"))
    options = parser.parse_args(arguments)
    tasks = [bool(options.files), options.microphone, options.list_models]
    if sum(tasks) != 1:
        parser.error("give either files, or --microphone, or --list-models")
    if options.stream and options.list_models:
        parser.error("--stream is for files and --microphone")
    if options.list_models and (options.output or options.format not in MODEL_FORMATS):
        parser.error("--list-models writes to standard output, as text or json")
    if options.stream and options.parallel > 1:
        parser.error("--stream takes one file after the other: leave --parallel out")
    if options.each_channel and options.microphone:
        parser.error("--each-channel is for files")
    if not options.stream and (options.look_ahead is not None or options.single_utterance):
        parser.error("--look-ahead and --single-utterance are for --stream")
    return options


def _add_task(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--microphone",
        action="store_true",
        help="transcribe what is said now; Ctrl-C ends the recording",
    )
    add(
        "--stream",
        action="store_true",
        help="transcribe while audio is sent: text grows on a terminal, and a result is written "
        "for each segment when it has ended",
    )
    add(
        "--look-ahead",
        type=_seconds,
        metavar="S",
        help="for --stream: audio that the model hears ahead, 0.1 to 2 (default: the server's)",
    )
    add("--single-utterance", action="store_true", help="for --stream: end with the first segment")
    add("--list-models", action="store_true", help="write which models the server has")
    add(
        "--format",
        choices=FORMATS,
        default="text",
        help="text; json: one object a line, with times and confidences; srt, vtt: subtitles; "
        "ctm: timed words (default: text)",
    )
    add(
        "--output",
        metavar="PATH",
        help="file to write, or folder for the subtitles of several files (default: stdout)",
    )
    add(
        "--parallel",
        type=_count,
        default=1,
        metavar="N",
        help="files transcribed at once; the output keeps their order (default: 1)",
    )


def _add_recognition(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", default="", help="which of the server's models (default: the server's)")
    add("--decoder", default="", help="greedy, beam or prefix (default: the model's)")
    add("--beam-width", type=int, default=0, metavar="K", help="hypotheses kept while decoding")
    add("--nbest", type=int, default=0, metavar="N", help="hypotheses to give at most")
    add("--alternatives", dest="nbest", type=int, help=argparse.SUPPRESS)  # its former name
    add("--lm-weight", type=float, metavar="W", help="of the model's language model; 0: none")
    add("--phrase", action="append", default=[], metavar="TEXT", help="words that may be said")
    add("--phrase-weight", type=float, default=0.0, metavar="W", help="of phrases (default: 1.5)")
    add(
        "--written",
        action="store_true",
        help="write numbers, dates, times, money and measures as people write them, "
        '"$23" for "twenty three dollars" (inverse text normalisation; English; the server '
        "needs the extra itn)",
    )
    add("--channel", type=int, default=0, metavar="C", help="channel to hear (default: the mean)")
    add(
        "--each-channel",
        action="store_true",
        help="transcribe each channel of files by itself; text and subtitles tell who speaks, in "
        "the order of time",
    )
    add(
        "--encoding",
        choices=ENCODINGS,
        help="the files are raw samples of this kind, little-endian, without a header",
    )
    add(
        "--sample-rate",
        type=int,
        default=0,
        metavar="HZ",
        help="rate of raw samples; of the microphone (default: the model's)",
    )
    add("--channels", type=int, default=0, metavar="C", help="channels of raw samples (default: 1)")


def _add_connection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--address",
        default=DEFAULT_ADDRESS,
        help="host:port of the server, or unix:PATH for a Unix socket (default: %(default)s)",
    )
    add("--tls", action="store_true", help="TLS, with a certificate of a public authority")
    add("--tls-ca", metavar="PEM", help="TLS, with a certificate of this authority")
    add("--tls-certificate", metavar="PEM", help="the client's own certificate, where one is asked")
    add("--tls-key", metavar="PEM", help="its private key")
    add("--token-file", metavar="FILE", help="file with the bearer token to send")
    add(
        "--token-over-plaintext",
        action="store_true",
        help="send the token without TLS to another machine, where others may read it",
    )
    add(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        metavar="S",
        help="how long one file may take, in seconds; with --stream or --microphone how long the "
        "server may take to begin (default: %(default)g)",
    )
    add(
        "--retries",
        type=int,
        choices=range(MAX_RETRIES + 1),
        default=DEFAULT_RETRIES,
        metavar="N",
        help=f"more attempts where the server is full or away, 0 to {MAX_RETRIES} "
        "(default: %(default)s)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to {MOST_SECONDS}")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 256:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 256")
    return count


def _connect(options: argparse.Namespace) -> Client:
    security = Security(
        tls=options.tls,
        ca=options.tls_ca,
        certificate=options.tls_certificate,
        key=options.tls_key,
        token=None if options.token_file is None else read_token(options.token_file),
        token_over_plaintext=options.token_over_plaintext,
    )
    return Client(
        options.address, timeout=options.timeout, security=security, retries=options.retries
    )


def _config(options: argparse.Namespace) -> RecognitionConfig:
    try:
        return RecognitionConfig(
            encoding=f"AUDIO_ENCODING_{options.encoding or 'UNSPECIFIED'}",
            sample_rate_hertz=options.sample_rate,
            audio_channel_count=options.channels,
            decoder=options.decoder,
            beam_width=options.beam_width,
            max_alternatives=options.nbest,
            enable_word_time_offsets=options.format != "text" or options.each_channel,
            enable_separate_recognition_per_channel=options.each_channel,
            model=options.model,
            audio_channel=options.channel,
            lm_weight=options.lm_weight,
            speech_contexts=_contexts(options),
            enable_inverse_text_normalization=options.written,
        )
    except ValueError as error:  # beyond 32 bits
        raise ClientError(f"an option is out of range: {error}") from None


def _in_options(message: str) -> str:
    """``message`` with the options of this command in the place of the fields that they set."""
    return FIELD.sub(lambda found: FIELDS[found[0]], message)


def _contexts(options: argparse.Namespace) -> list[SpeechContext]:
    if not options.phrase:
        return []
    return [SpeechContext(phrases=options.phrase, boost=options.phrase_weight)]


# Files


def _transcribe(client: Client, options: argparse.Namespace) -> int:
    config = _config(options)
    sources = find_audio(options.files, raw=options.encoding is not None)

    def transcribe(source: Source) -> Transcription:
        if source.path == STDIN:
            return client.transcribe(standard_input(), config)
        return client.transcribe_file(source.path, config)

    failures, kind = 0, FORMATS[options.format]
    with open_results(kind, sources, options.output, _files(options)) as write:
        outcomes = transcribe_all(transcribe, sources, options.parallel)
        for index, source in enumerate(sources):
            _show_progress(f"{index + 1}/{len(sources)} {source.path}")
            outcome = next(outcomes)
            _show_progress("")
            if isinstance(outcome, ClientError):
                failures += 1
                if not isinstance(outcome, SkippedError):
                    complain(f"{source.path}: {_in_options(str(outcome))}", NAME)
            write(index, results_of(outcome, kind))
    if failures and len(sources) > 1:
        complain(f"{failures} of {len(sources)} files could not be transcribed", NAME)
    return FAILURE if failures else 0


def _files(options: argparse.Namespace) -> list[str | None]:
    """What is read beside the audio."""
    return [options.tls_ca, options.tls_certificate, options.tls_key, options.token_file]


def _stream(client: Client, options: argparse.Namespace) -> int:
    """Files one after the other, as if they were spoken now."""
    sources = find_audio(options.files, raw=options.encoding is not None)
    kind = FORMATS[options.format]
    with open_results(kind, sources, options.output, _files(options)) as write:
        outcomes = stream_files(
            client,
            sources,
            lambda head: live_config(_config(options), options, head),
            write,
            at_once=kind.of_one,
        )
    failures = 0
    for source, error in zip(sources, outcomes, strict=True):
        failures += error is not None
        if error is not None and not isinstance(error, SkippedError):
            complain(f"{source.path}: {_in_options(str(error))}", NAME)
    if failures and len(sources) > 1:
        complain(f"{failures} of {len(sources)} files could not be transcribed", NAME)
    return FAILURE if failures else 0


# The microphone


def _listen(client: Client, options: argparse.Namespace) -> int:
    rate = options.sample_rate or client.get_model(options.model).sample_rate
    options.encoding, options.sample_rate, options.channels = "LINEAR16", rate, 1
    microphone = Microphone(rate)
    config = _config(options)
    sources = [Source("microphone", "microphone")]
    with (
        open_results(FORMATS[options.format], sources, options.output, _files(options)) as write,
        on_interrupt(microphone.stop),
    ):
        _show_progress("recording; Ctrl-C ends it")
        try:
            for result in _heard(client, microphone, config, options):
                _show_progress("")
                write(0, [result])
        finally:
            microphone.stop()
            _show_progress("")
    if microphone.overflows:
        print("asr-client: this machine was too slow: parts are missing", file=sys.stderr)
    return 0


def _heard(
    client: Client,
    microphone: Microphone,
    config: RecognitionConfig,
    options: argparse.Namespace,
) -> Iterator[Result]:
    """What is said, at the end or, for --stream, segment by segment."""
    if options.stream:
        live = client.live(microphone, live_config(config, options))
        microphone.limit(live.started.max_audio)
        yield from tell(live)
        return
    parts = client.stream(microphone, config)
    microphone.limit(parts.started.max_audio)
    for part in parts:
        yield result_of(part)


# What a person sees


def _show_progress(line: str) -> None:
    """A line on a terminal in place of the last; an empty one wipes it."""
    if sys.stderr is not None and sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
