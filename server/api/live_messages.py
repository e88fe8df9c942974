"""Between the messages of live streams and the toolkit's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration

from asr.bundle import Bundle
from asr.decoding import DecoderOptions
from asr.live import EndpointOptions, Final, Interim, LiveOptions
from asr.nn.chunks import Chunking
from asr.types import ConfigError, DecodingError, Word
from server.api.messages import (
    SAMPLE_BYTES,
    seconds_of,
    write_alternatives,
    write_duration,
    write_word,
)
from server.audio.pool import AudioJob
from server.limits import (
    MAX_LOOK_AHEAD,
    MAX_RULE_SECONDS,
    MAX_SEGMENT_SECONDS,
    MIN_LOOK_AHEAD,
    MIN_RULE_SECONDS,
    STREAM_BYTES,
)
from server.pb.v1.speech_pb2 import (
    LATENCY_HIGH,
    LATENCY_LOW,
    LATENCY_MEDIUM,
    LATENCY_UNSPECIFIED,
    SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE,
    SPEECH_EVENT_TYPE_UNSPECIFIED,
    EndpointingConfig,
    SpeechRecognitionAlternative,
    StreamingRecognitionConfig,
    StreamingRecognitionResult,
    StreamingRecognitionResults,
    StreamStarted,
)

__all__ = [
    "check_decoder",
    "read_chunking",
    "read_live_options",
    "write_final",
    "write_interim",
    "write_live_started",
]

LATENCIES = {
    LATENCY_UNSPECIFIED: "medium",
    LATENCY_LOW: "low",
    LATENCY_MEDIUM: "medium",
    LATENCY_HIGH: "high",
}
DECODERS = ("greedy", "beam")  # that say something before the end
LESS_THAN_SETTLED = 0.99  # a stability of 1 is a promise


def read_live_options(config: StreamingRecognitionConfig) -> LiveOptions:
    """What ``config`` asks of the stream.

    Raises:
        ConfigError: a time is out of range.
    """
    return LiveOptions(
        endpoint=_rules(config.endpointing_config),
        single_utterance=config.single_utterance,
        interim_words=config.interim_results and config.config.enable_word_time_offsets,
    )


def read_chunking(config: StreamingRecognitionConfig, bundle: Bundle) -> Chunking:
    """How the model ``bundle`` is to be read, in its frames.

    Raises:
        ConfigError: the look-ahead is out of range, or there is no such latency.
    """
    if config.latency not in LATENCIES:
        raise ConfigError(
            f"latency {config.latency} is unknown",
            remedy="give LOW, MEDIUM or HIGH, or leave it out",
        )
    chunking = bundle.chunking(LATENCIES[config.latency])
    if not config.HasField("look_ahead"):
        return chunking
    seconds = _seconds("look_ahead", config.look_ahead, MIN_LOOK_AHEAD, MAX_LOOK_AHEAD)
    return replace(chunking, look_ahead=round(seconds / bundle.seconds_per_frame))


def check_decoder(options: DecoderOptions) -> None:
    """Raise DecodingError if a decoder of ``options`` says nothing before it has heard all."""
    if options.name not in DECODERS:
        raise DecodingError(
            f"{options.name} decoding hears all of the audio before it says anything",
            remedy=f"choose one of {', '.join(DECODERS)} for a live stream",
        )


def write_live_started(
    model: str, job: AudioJob, chunking: Chunking, seconds_per_frame: float, *, at_end: bool
) -> StreamStarted:
    """What a live stream is told at its start; ``at_end``: its audio is a file to be read whole."""
    started = StreamStarted(
        model=model,
        answers_at_end=at_end,
        look_ahead=write_duration(chunking.look_ahead * seconds_per_frame),
        chunk=write_duration(chunking.frames * seconds_per_frame),
    )
    if job.encoding in SAMPLE_BYTES:
        started.max_audio.CopyFrom(write_duration(seconds_of(STREAM_BYTES, job)))
    return started


def write_interim(event: Interim, *, words: bool) -> StreamingRecognitionResults:
    """What is settled of a segment, and the rest; ``words`` adds words with their times."""
    settled, rest = event.stable, event.text[len(event.stable) :]
    count = event.stable_words
    parts = []
    if settled:
        parts.append(_part(event, settled, event.words[:count] if words else (), 1.0))
    if rest or not settled:
        stability = min(event.stability, LESS_THAN_SETTLED)
        parts.append(_part(event, rest, event.words[count:] if words else (), stability))
    return StreamingRecognitionResults(results=parts)


def write_final(
    event: Final, *, words: bool, single_utterance: bool
) -> StreamingRecognitionResults:
    """What was said in a segment; with words it may take long, and is not for the event loop.

    Raises:
        DecodingError: it does not fit into a message.
    """
    result = StreamingRecognitionResult(
        alternatives=write_alternatives(event.hypotheses, words=words),
        is_final=True,
        result_end_time=write_duration(event.end),
        segment_start_time=write_duration(event.start),
    )
    is_end = single_utterance and event.reason != "finished"  # with the stream, by the client
    return StreamingRecognitionResults(
        results=[result],
        speech_event_type=SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE
        if is_end
        else SPEECH_EVENT_TYPE_UNSPECIFIED,
    )


def _part(
    event: Interim, text: str, words: Sequence[Word], stability: float
) -> StreamingRecognitionResult:
    alternative = SpeechRecognitionAlternative(
        transcript=text, words=[write_word(word) for word in words]
    )
    return StreamingRecognitionResult(
        alternatives=[alternative],
        stability=stability,
        result_end_time=write_duration(event.end),
        segment_start_time=write_duration(event.start),
    )


def _rules(config: EndpointingConfig) -> EndpointOptions:
    """The rules of ``config``, and the defaults of those that it does not have."""
    options = EndpointOptions()
    low, high = MIN_RULE_SECONDS, MAX_RULE_SECONDS
    name = "rule1_min_trailing_silence"
    if config.HasField(name):
        seconds = _seconds(name, config.rule1_min_trailing_silence, low, high)
        options = replace(options, rule1=replace(options.rule1, min_trailing_silence=seconds))
    name = "rule2_min_trailing_silence"
    if config.HasField(name):
        seconds = _seconds(name, config.rule2_min_trailing_silence, low, high)
        options = replace(options, rule2=replace(options.rule2, min_trailing_silence=seconds))
    name = "rule3_min_utterance_length"
    if config.HasField(name):
        longest = MAX_SEGMENT_SECONDS
        seconds = _seconds(name, config.rule3_min_utterance_length, low, longest)
        options = replace(options, rule3=replace(options.rule3, min_utterance_length=seconds))
    return options


def _seconds(name: str, value: Duration, low: float, high: float) -> float:
    # Not by its own methods: they refuse numbers that a client may well send.
    seconds = value.seconds + value.nanos / 1e9
    if not low <= seconds <= high:
        raise ConfigError(f"{name} is {seconds:g} s", remedy=f"give {low:g} to {high:g} s")
    return seconds
