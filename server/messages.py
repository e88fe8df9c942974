"""Between the messages of ``proto/asr/v1`` and the toolkit's values."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from asr.audio import AudioLimits, decode_audio, decode_pcm
from asr.decoding import DecoderConfig
from asr.output import timed_words
from asr.types import AudioError, DecodingError, Hypothesis, Transcript, Waveform, Word
from server.limits import MAX_ALTERNATIVES
from server.pb.v1.speech_pb2 import (
    AUDIO_ENCODING_FLOAT,
    AUDIO_ENCODING_LINEAR16,
    AUDIO_ENCODING_UNSPECIFIED,
    RecognitionConfig,
    SpeechRecognitionAlternative,
    SpeechRecognitionResult,
    WordInfo,
)

__all__ = ["read_audio", "read_decoder", "write_result"]

RAW_ENCODINGS = {AUDIO_ENCODING_LINEAR16: "LINEAR16", AUDIO_ENCODING_FLOAT: "FLOAT"}


def read_decoder(config: RecognitionConfig, default: DecoderConfig) -> DecoderConfig:
    """The model's own decoder with what ``config`` changes.

    Raises:
        DecodingError: an unknown decoder, or options out of range.
    """
    if not 0 <= config.max_alternatives <= MAX_ALTERNATIVES:
        raise DecodingError(
            f"max_alternatives is {config.max_alternatives}",
            remedy=f"give 1 to {MAX_ALTERNATIVES}, or 0 for the model's default",
        )
    given = {"beam_width": config.beam_width, "alternatives": config.max_alternatives}
    changes = {key: value for key, value in given.items() if value}
    one_only = default.name == "greedy"
    asks_for_beam = config.beam_width or (one_only and config.max_alternatives > 1)
    name = config.decoder or ("beam" if asks_for_beam else default.name)
    kept = default.to_dict() if name == default.name else {}
    return DecoderConfig.from_dict({**kept, "name": name, **changes})


def read_audio(config: RecognitionConfig, audio: bytes, limits: AudioLimits) -> Waveform:
    """Decode ``audio`` as ``config`` describes it; its own rate is kept.

    Raises:
        AudioError: not usable audio, beyond the limits, or not what ``config`` says.
    """
    if config.encoding == AUDIO_ENCODING_UNSPECIFIED:
        return _with_header(config, audio, limits)
    if config.encoding not in RAW_ENCODINGS:
        raise AudioError(
            f"encoding {config.encoding} is unknown",
            remedy="leave it unspecified for WAV, FLAC, OGG and SPHERE files; "
            "else give LINEAR16 or FLOAT",
        )
    if config.sample_rate_hertz == 0:
        raise AudioError(
            "sample_rate_hertz is missing", remedy="audio without a header needs its rate"
        )
    return decode_pcm(
        audio,
        encoding=RAW_ENCODINGS[config.encoding],
        sample_rate=config.sample_rate_hertz,
        channels=config.audio_channel_count or 1,
        limits=limits,
    )


def write_result(transcript: Transcript, *, words: bool) -> SpeechRecognitionResult:
    """``transcript`` as a message; ``words`` adds words with their times."""
    return SpeechRecognitionResult(
        alternatives=[_alternative(hypothesis, words) for hypothesis in transcript.hypotheses],
        result_end_time=_duration(transcript.duration),
    )


def _with_header(config: RecognitionConfig, audio: bytes, limits: AudioLimits) -> Waveform:
    if config.audio_channel_count:
        raise AudioError(
            "audio_channel_count is given, but encoding is not",
            remedy="leave it 0 for a file with a header, or name the encoding",
        )
    waveform = decode_audio(audio, limits=limits)
    if config.sample_rate_hertz not in (0, waveform.sample_rate):
        raise AudioError(
            f"sample_rate_hertz is {config.sample_rate_hertz}, "
            f"but the audio's header says {waveform.sample_rate}",
            remedy="leave it 0 to trust the header",
        )
    return waveform


def _alternative(hypothesis: Hypothesis, words: bool) -> SpeechRecognitionAlternative:
    return SpeechRecognitionAlternative(
        transcript=hypothesis.text,
        confidence=hypothesis.confidence,
        words=[_word(word) for word in timed_words(hypothesis)] if words else [],
        score=hypothesis.score,
    )


def _word(word: Word) -> WordInfo:
    return WordInfo(
        start_time=_duration(word.start),
        end_time=_duration(word.end),
        word=word.text,
        confidence=word.confidence,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
