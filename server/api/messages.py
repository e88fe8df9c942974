"""Between the messages of ``proto/asr/v1`` and the toolkit's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration

from asr.bundle import Bundle
from asr.decoding import DecoderOptions, GreedyOptions, Phrase, PrefixOptions, choose_options
from asr.types import AudioError, DecodingError, Hypothesis, Search, Transcript, Word
from server.audio.pool import AudioJob
from server.engine.models import ServedModel
from server.limits import (
    AUDIO_BYTES,
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_BOOST,
    MAX_CHANNELS,
    MAX_PHRASE_CHARACTERS,
    MAX_PHRASES,
    MAX_RATE,
    MESSAGE_LIMIT,
    MIN_RATE,
    PHRASE_CHARACTERS,
    PREFIX_ALTERNATIVES,
    PREFIX_EXPANSIONS,
    PREFIX_SECONDS,
    SPOKEN_SECONDS,
)
from server.pb.v1.speech_pb2 import (
    AUDIO_ENCODING_AAC,
    AUDIO_ENCODING_ALAW,
    AUDIO_ENCODING_FLAC,
    AUDIO_ENCODING_FLOAT,
    AUDIO_ENCODING_LINEAR16,
    AUDIO_ENCODING_MP3,
    AUDIO_ENCODING_MP4,
    AUDIO_ENCODING_MULAW,
    AUDIO_ENCODING_OGG,
    AUDIO_ENCODING_UNSPECIFIED,
    AUDIO_ENCODING_WAV,
    AUDIO_ENCODING_WEBM,
    SEARCH_PROOF_CUT,
    SEARCH_PROOF_EXACT,
    SEARCH_PROOF_SECTIONED,
    SEARCH_PROOF_UNSPECIFIED,
    Model,
    RecognitionConfig,
    SearchProof,
    SpeechRecognitionAlternative,
    SpeechRecognitionResult,
    StreamStarted,
    WordInfo,
)

__all__ = [
    "SAMPLE_BYTES",
    "AnswerRoom",
    "check_duration",
    "read_job",
    "read_options",
    "read_phrases",
    "seconds_of",
    "write_alternatives",
    "write_duration",
    "write_model",
    "write_result",
    "write_started",
    "write_word",
]

# What clients may ask for; others need more than a request can bring.
DECODERS = ("greedy", "beam", "prefix")

FRAME_BYTES = 32  # more than what stands around a part of a message: tag, length, the result's end

RAW = {
    AUDIO_ENCODING_LINEAR16: "LINEAR16",
    AUDIO_ENCODING_FLOAT: "FLOAT",
    AUDIO_ENCODING_MULAW: "MULAW",
    AUDIO_ENCODING_ALAW: "ALAW",
}
SAMPLE_BYTES = {"LINEAR16": 2, "FLOAT": 4, "MULAW": 1, "ALAW": 1}
WITH_HEADER = {
    AUDIO_ENCODING_UNSPECIFIED: "",
    AUDIO_ENCODING_WAV: "WAV",
    AUDIO_ENCODING_FLAC: "FLAC",
    AUDIO_ENCODING_OGG: "OGG",
    AUDIO_ENCODING_MP3: "MP3",
    AUDIO_ENCODING_MP4: "MP4",
    AUDIO_ENCODING_WEBM: "WebM",
    AUDIO_ENCODING_AAC: "AAC",
}
PROOFS: dict[Search | None, SearchProof] = {
    None: SEARCH_PROOF_UNSPECIFIED,
    "exact": SEARCH_PROOF_EXACT,
    "sectioned": SEARCH_PROOF_SECTIONED,
    "cut": SEARCH_PROOF_CUT,
}


def read_options(config: RecognitionConfig, bundle: Bundle) -> DecoderOptions:
    """The decoder that ``config`` asks for of the model ``bundle``, and its options.

    Raises:
        DecodingError: an unknown decoder, options out of range, or options that it does not have.
    """
    _check_range("max_alternatives", config.max_alternatives, MAX_ALTERNATIVES)
    _check_range("beam_width", config.beam_width, MAX_BEAM_WIDTH)
    if config.decoder and config.decoder not in DECODERS:
        raise DecodingError(
            f"unknown decoder {config.decoder!r}", remedy=f"choose one of {', '.join(DECODERS)}"
        )
    if config.lm_weight and bundle.language is None:
        raise DecodingError(
            "lm_weight is given, and the model has no language model",
            remedy="leave it out, or choose another model",
        )
    options = choose_options(
        bundle.decoder,
        config.decoder or None,
        _changes(config),
        phrases=bool(config.speech_contexts),
        words={"nbest": "max_alternatives", "phrases": "speech_contexts"},
    )
    if isinstance(options, PrefixOptions):
        _check_range("max_alternatives", options.nbest, PREFIX_ALTERNATIVES)
        return replace(options, max_expansions=min(options.max_expansions, PREFIX_EXPANSIONS))
    return options


def _changes(config: RecognitionConfig) -> dict[str, float]:
    """What ``config`` says of the decoder's options, by their names."""
    changes: dict[str, float] = {}
    if config.HasField("lm_weight"):
        changes["lm_weight"] = config.lm_weight
    if config.beam_width:
        changes["beam_width"] = config.beam_width
    # It is the most that may come, and greedy search finds one.
    if config.max_alternatives and config.decoder != GreedyOptions.name:
        changes["nbest"] = config.max_alternatives
    return changes


def check_duration(options: DecoderOptions, seconds: float) -> None:
    """Raise DecodingError if a decoder of ``options`` would take too long for so much audio."""
    if options.name == "prefix" and seconds > PREFIX_SECONDS:
        raise DecodingError(
            f"prefix search is for up to {PREFIX_SECONDS:g} s of audio",
            remedy='choose the decoder "beam", or cut the audio into shorter pieces',
        )


def read_phrases(config: RecognitionConfig) -> tuple[Phrase, ...]:
    """The phrases that ``config`` hopes for.

    Raises:
        DecodingError: they are too many, too long, empty, or weighted impossibly.
    """
    count = sum(len(context.phrases) for context in config.speech_contexts)
    if count > MAX_PHRASES:
        raise DecodingError(f"there are {count} phrases", remedy=f"give at most {MAX_PHRASES}")
    characters = sum(len(text) for context in config.speech_contexts for text in context.phrases)
    if characters > PHRASE_CHARACTERS:
        raise DecodingError(
            f"the phrases have {characters} characters", remedy=f"give at most {PHRASE_CHARACTERS}"
        )
    phrases = []
    for context in config.speech_contexts:
        if not -MAX_BOOST <= context.boost <= MAX_BOOST:  # false for NaN too
            raise DecodingError(
                f"the boost is {context.boost:g}",
                remedy=f"give a number from -{MAX_BOOST:g} to {MAX_BOOST:g}",
            )
        for text in context.phrases:
            if len(text) > MAX_PHRASE_CHARACTERS:
                raise DecodingError(
                    f"a phrase has {len(text)} characters",
                    remedy=f"give at most {MAX_PHRASE_CHARACTERS}",
                )
            phrases.append(Phrase(text, context.boost) if context.boost else Phrase(text))
    return tuple(phrases)


def _check_range(name: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise DecodingError(
            f"{name} is {value}", remedy=f"give 1 to {most}, or 0 for the model's default"
        )


def read_job(config: RecognitionConfig, target_rate: int) -> AudioJob:
    """How the audio that ``config`` describes is to be decoded, for a model of ``target_rate`` Hz.

    Raises:
        AudioError: no audio can be what ``config`` says.
    """
    rate, channels = config.sample_rate_hertz, config.audio_channel_count
    if config.encoding not in {**RAW, **WITH_HEADER}:
        raise AudioError(
            f"encoding {config.encoding} is unknown",
            remedy="leave it unspecified for files with a header, such as WAV, FLAC and OGG; "
            f"else give one of {', '.join(RAW.values())}",
        )
    if rate and not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"the sample rate is {rate} Hz", remedy=f"use {MIN_RATE} to {MAX_RATE} Hz")
    if not 0 <= channels <= MAX_CHANNELS:
        raise AudioError(f"the audio has {channels} channels", remedy=f"use 1 to {MAX_CHANNELS}")
    if not 0 <= config.audio_channel <= MAX_CHANNELS:
        raise AudioError(
            f"audio_channel is {config.audio_channel}",
            remedy=f"give 1 to {MAX_CHANNELS}, or 0 for the mean of all",
        )
    if config.audio_channel and config.enable_separate_recognition_per_channel:
        raise AudioError(
            "audio_channel is given, and each channel is to be transcribed",
            remedy="leave one of the two out",
        )
    if config.encoding in WITH_HEADER and channels:
        raise AudioError(
            "audio_channel_count is given for audio with a header",
            remedy="leave it 0: the header tells",
        )
    if config.encoding in RAW and not rate:
        raise AudioError(
            "sample_rate_hertz is missing", remedy="audio without a header needs its rate"
        )
    return AudioJob(
        encoding={**RAW, **WITH_HEADER}[config.encoding],
        sample_rate=rate,
        channels=(channels or 1) if config.encoding in RAW else 0,
        channel=config.audio_channel - 1 if config.audio_channel else None,
        target_rate=target_rate,
    )


def write_result(transcript: Transcript, *, words: bool, parts: int = 1) -> SpeechRecognitionResult:
    """``transcript`` as one of ``parts`` of a message; ``words`` adds words with their times.

    Raises:
        DecodingError: see :func:`write_alternatives`.
    """
    return SpeechRecognitionResult(
        alternatives=write_alternatives(transcript.hypotheses, words=words, parts=parts),
        result_end_time=write_duration(transcript.duration),
    )


def write_alternatives(
    hypotheses: Sequence[Hypothesis], *, words: bool, parts: int = 1
) -> list[SpeechRecognitionAlternative]:
    """``hypotheses`` as messages; ``words`` adds words with their times.

    Alternatives beyond what fits into one of ``parts`` of a message are left out: the client could
    not receive them. Ten minutes of phones with their times take a third of a megabyte, and a third
    of a second, for each alternative: not for the event loop.

    Raises:
        DecodingError: not even the best one fits.
    """
    alternatives: list[SpeechRecognitionAlternative] = []
    room = MESSAGE_LIMIT // parts - FRAME_BYTES
    for hypothesis in hypotheses:
        alternative = _alternative(hypothesis, words)
        room -= alternative.ByteSize() + FRAME_BYTES
        if room < 0:
            break
        alternatives.append(alternative)
    if not alternatives:
        raise _too_much_said()
    return alternatives


class AnswerRoom:
    """What is left of an answer's message, while what it says becomes known bit by bit.

    Args:
        copies: how often it is in the answer: 2 where the written form has the spoken one beside.
    """

    def __init__(self, copies: int = 1) -> None:
        self._copies = copies
        self._left = MESSAGE_LIMIT - 2 * FRAME_BYTES

    def take(self, hypothesis: Hypothesis, *, words: bool) -> None:
        """Raise DecodingError if ``hypothesis`` does not fit behind the others."""
        self._left -= self._copies * _alternative(hypothesis, words).ByteSize()
        if self._left < 0:
            raise _too_much_said()


def _too_much_said() -> DecodingError:
    return DecodingError(
        f"the answer has more than the {MESSAGE_LIMIT} bytes of a message",
        remedy="cut the audio into shorter pieces, or leave the times of words out",
    )


def write_started(model: ServedModel, job: AudioJob) -> StreamStarted:
    """What a stream that is answered after its end is told at its start."""
    started = StreamStarted(model=model.name, answers_at_end=True)
    if job.encoding in SAMPLE_BYTES:
        seconds = min(seconds_of(AUDIO_BYTES, job), SPOKEN_SECONDS)
        started.max_audio.CopyFrom(write_duration(seconds))
    return started


def seconds_of(count: int, job: AudioJob) -> int:
    """Whole seconds that so many bytes of samples without a header last."""
    return count // (SAMPLE_BYTES[job.encoding] * job.channels * job.sample_rate)


def write_model(model: ServedModel, default: str) -> Model:
    """``model`` as clients see it; ``default`` is the default model's name."""
    recognizer = model.recognizer
    return Model(
        name=model.name,
        is_default=model.name == default,
        sample_rate_hertz=recognizer.sample_rate,
        answers_at_end=not recognizer.can_stream,
        vocabulary_size=recognizer.tokenizer.size - 1,  # without the blank
        frame_step=write_duration(recognizer.seconds_per_frame),
        default_decoder=recognizer.bundle.decoder.name,
        decoders=DECODERS,
        fingerprint=model.fingerprint,
        has_language_model=recognizer.bundle.language is not None,
        language_code=recognizer.bundle.language_code,
    )


def _alternative(hypothesis: Hypothesis, words: bool) -> SpeechRecognitionAlternative:
    return SpeechRecognitionAlternative(
        transcript=hypothesis.text,
        confidence=hypothesis.confidence,
        words=[write_word(word) for word in hypothesis.timed_words()] if words else [],
        spoken_transcript=hypothesis.spoken_text,
        spoken_words=[write_word(word) for word in hypothesis.spoken_words] if words else [],
        score=hypothesis.score,
        search_proof=PROOFS[hypothesis.search],
        acoustic_score=hypothesis.acoustic_score,
        lm_score=hypothesis.lm_score,
        bonus_score=hypothesis.bonus_score,
    )


def write_word(word: Word) -> WordInfo:
    """``word`` as a message."""
    return WordInfo(
        start_time=write_duration(word.start),
        end_time=write_duration(word.end),
        word=word.text,
        confidence=word.confidence,
    )


def write_duration(seconds: float) -> Duration:
    """``seconds`` as a message, to the nanosecond."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
