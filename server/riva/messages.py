"""Between the messages of ``nvidia.riva.asr`` and those of ``asr.v1``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from riva.client.proto import riva_asr_pb2 as rasr
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from asr.audio.containers import LIVE, container_of
from asr.types import AudioError, ConfigError
from server.engine.models import ServedModel
from server.pb.v1 import speech_pb2 as pb
from server.riva.settings import (
    apply_custom,
    apply_live_custom,
    read_boost,
    read_endpointing,
)

__all__ = [
    "HEAD_BYTES",
    "fit_to_model",
    "read_config",
    "read_streaming_config",
    "told_by",
    "write_models",
    "write_recognized",
    "write_streamed",
]

ENCODINGS: Mapping[int, int] = {
    AudioEncoding.ENCODING_UNSPECIFIED: pb.AUDIO_ENCODING_UNSPECIFIED,
    AudioEncoding.LINEAR_PCM: pb.AUDIO_ENCODING_LINEAR16,
    AudioEncoding.FLAC: pb.AUDIO_ENCODING_FLAC,
    AudioEncoding.MULAW: pb.AUDIO_ENCODING_MULAW,
    AudioEncoding.OGGOPUS: pb.AUDIO_ENCODING_OGG,
    AudioEncoding.ALAW: pb.AUDIO_ENCODING_ALAW,
}
RAW = (pb.AUDIO_ENCODING_LINEAR16, pb.AUDIO_ENCODING_MULAW, pb.AUDIO_ENCODING_ALAW)
HEAD_BYTES = 12  # that tell a file of these kinds
FIRST_CHANNEL = 1  # the one that Riva hears


# Requests


def read_config(config: Any) -> pb.RecognitionConfig:
    """What the ``RecognitionConfig`` of Riva's that is ``config`` asks of ``asr.v1``.

    Raises:
        AudioError, ConfigError: it asks for what there is not.
    """
    if config.diarization_config.enable_speaker_diarization:
        raise ConfigError(
            "speaker diarization is asked for, which this server does not do",
            remedy="leave enable_speaker_diarization out",
        )
    if config.encoding not in ENCODINGS:
        names = ", ".join(name for name, value in AudioEncoding.items() if value)
        raise AudioError(
            f"encoding {config.encoding} is unknown",
            remedy=f"give one of {names}, or leave it out for files with a header",
        )
    encoding, apart = ENCODINGS[config.encoding], config.enable_separate_recognition_per_channel
    translated = pb.RecognitionConfig(
        encoding=encoding,  # type: ignore[arg-type]
        sample_rate_hertz=config.sample_rate_hertz,
        audio_channel_count=config.audio_channel_count if encoding in RAW else 0,
        audio_channel=0 if apart else FIRST_CHANNEL,
        enable_separate_recognition_per_channel=apart,
        max_alternatives=config.max_alternatives or 1,
        enable_word_time_offsets=config.enable_word_time_offsets,
        model=config.model,
        speech_contexts=[
            pb.SpeechContext(phrases=context.phrases, boost=read_boost(context.boost))
            for context in config.speech_contexts
        ],
    )
    apply_custom(config.custom_configuration, translated)
    return translated


def read_streaming_config(config: Any) -> pb.StreamingRecognitionConfig:
    """The same of a ``StreamingRecognitionConfig`` of Riva's.

    Raises:
        AudioError, ConfigError: see :func:`read_config`.
    """
    translated = pb.StreamingRecognitionConfig(
        config=read_config(config.config), interim_results=config.interim_results
    )
    if config.config.HasField("endpointing_config"):
        rules = read_endpointing(config.config.endpointing_config)
        translated.endpointing_config.CopyFrom(rules)
    apply_live_custom(config.config.custom_configuration, translated)
    return translated


def told_by(head: bytes, config: pb.RecognitionConfig, *, live: bool) -> None:
    """Change ``config`` to what the audio's first bytes ``head`` tell.

    Riva's clients send WAV files with their headers, whatever they call them. What a live stream
    brings is to be named, or it would be read to its end first.
    """
    found = container_of(head)
    if found == "WAV" and config.encoding in RAW:
        config.encoding = pb.AUDIO_ENCODING_WAV
        config.audio_channel_count = 0
    elif live and found in LIVE and config.encoding == pb.AUDIO_ENCODING_UNSPECIFIED:
        named = pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{found.upper()}")
        config.encoding = named.encoding


def fit_to_model(asked: Any, config: pb.RecognitionConfig, model: ServedModel) -> None:
    """Compare what Riva's ``RecognitionConfig`` that is ``asked`` wants with what ``model`` is.

    Numbers and the like are written as people write them, as Riva's servers do where they can,
    unless transcripts are to be verbatim; ``config`` is changed accordingly.

    Raises:
        ConfigError: the model knows another language, as far as it is known.
    """
    code, spoken = asked.language_code, model.recognizer.bundle.language_code
    if code and spoken and _language(code) != _language(spoken):
        raise ConfigError(
            f"model {model.name!r} does not know the language {code!r}",
            remedy=f"give language_code {spoken!r}, or none",
        )
    if not asked.verbatim_transcripts and _language(spoken) == "en" and has_written_forms():
        config.enable_inverse_text_normalization = True


@cache
def has_written_forms() -> bool:
    """Whether this server has the rules for them, which are English."""
    return importlib.util.find_spec("wetext") is not None


def _language(code: str) -> str:
    """The language of a BCP-47 tag: ``en`` of ``en-US``."""
    return code.replace("_", "-").partition("-")[0].lower()


# Answers


def write_recognized(
    results: Sequence[pb.SpeechRecognitionResult], request: Any, channel: int, spoken: str
) -> Any:
    """The answer to the ``RecognizeRequest`` that is ``request``.

    ``channel`` is the one that was heard, and ``spoken`` the language.
    """
    response = rasr.RecognizeResponse(
        results=[
            rasr.SpeechRecognitionResult(
                alternatives=_alternatives(result.alternatives, spoken),
                channel_tag=result.channel_tag or channel,
                audio_processed=_seconds(result.result_end_time),
            )
            for result in results
        ]
    )
    if request.HasField("id"):
        response.id.CopyFrom(request.id)
    return response


def write_streamed(results: pb.StreamingRecognitionResults, channel: int, spoken: str) -> Any:
    """What a live stream says of a segment, as one ``StreamingRecognitionResult``.

    Its transcript is the whole of the segment's text by now: clients show the last one. It is
    stable as far as its least stable part is.
    """
    parts = results.results
    if parts[0].is_final:
        alternatives = _alternatives(parts[0].alternatives, spoken)
    else:
        text = "".join(part.alternatives[0].transcript for part in parts)
        alternatives = [rasr.SpeechRecognitionAlternative(transcript=text)]
    result = rasr.StreamingRecognitionResult(
        alternatives=alternatives,
        is_final=parts[0].is_final,
        stability=min(part.stability for part in parts),
        channel_tag=parts[0].channel_tag or channel,
        audio_processed=_seconds(parts[-1].result_end_time),
    )
    return rasr.StreamingRecognizeResponse(results=[result])


def write_models(models: Sequence[ServedModel], name: str) -> Any:
    """What can be asked of ``models``; of the one called ``name`` alone, if it is not empty.

    As of Riva's servers, what a model does at once and what it does in streams are two entries.
    """
    response = rasr.RivaSpeechRecognitionConfigResponse()
    for model in models:
        if name and model.name != name:
            continue
        kinds = ("offline", "online") if model.recognizer.can_stream else ("offline",)
        for kind in kinds:
            entry = response.model_config.add(model_name=model.name)
            entry.parameters.update(
                type=kind,
                streaming=str(kind == "online"),
                language_code=model.recognizer.bundle.language_code,
                sample_rate=str(model.recognizer.sample_rate),
                decoder_type=model.recognizer.bundle.decoder.name,
            )
    return response


def _alternatives(
    alternatives: Sequence[pb.SpeechRecognitionAlternative], spoken: str
) -> list[Any]:
    """Words have the first one alone. A text ends with a space, so that texts can be joined."""
    return [
        rasr.SpeechRecognitionAlternative(
            transcript=alternative.transcript + " " if alternative.transcript else "",
            confidence=alternative.confidence,
            words=[] if rank else [_word(word) for word in alternative.words],
            language_code=[spoken] if spoken else [],
        )
        for rank, alternative in enumerate(alternatives)
    ]


def _word(word: pb.WordInfo) -> Any:
    return rasr.WordInfo(
        start_time=_milliseconds(word.start_time),
        end_time=_milliseconds(word.end_time),
        word=word.word,
        confidence=word.confidence,
    )


def _milliseconds(duration: Duration) -> int:
    return round(duration.ToNanoseconds() / 1e6)


def _seconds(duration: Duration) -> float:
    return float(duration.ToNanoseconds() / 1e9)
