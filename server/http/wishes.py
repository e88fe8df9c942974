"""What a WebSocket's client asks for by ``{"config": {...}}``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from asr.audio.containers import LIVE, container_of
from server.client import (
    EndpointingConfig,
    RecognitionConfig,
    SpeechContext,
    StreamingRecognitionConfig,
)
from server.http.errors import ApiError

__all__ = ["ENCODINGS", "Wishes"]

SAMPLES = {"LINEAR16": 2, "FLOAT": 4, "MULAW": 1, "ALAW": 1}  # bytes of one
FILES = ("WAV", "OGG", "WEBM", "FLAC", "MP3", "MP4", "AAC")
ENCODINGS = (*SAMPLES, *FILES, "FILE")  # the last: whatever its header says
LATENCIES = ("low", "medium", "high")
RULES = (
    "rule1_min_trailing_silence",
    "rule2_min_trailing_silence",
    "rule3_min_utterance_length",
)
UNKNOWN_WORD = "[unk]"  # in the phrases of vosk's clients: any other word, which is always there


@dataclass(frozen=True)
class Wishes:
    """The fields of ``config``, as they were given until now.

    ``native`` asks for this gateway's own messages; without it they are those of vosk-server.
    Fields at their defaults are left to the server; ``sample_rate`` 0 is the model's own.
    """

    native: bool = False
    model: str = ""
    encoding: str = ""
    sample_rate: int = 0
    channels: int = 0
    channel: int = 0
    decoder: str = ""
    beam_width: int = 0
    lm_weight: float | None = None
    max_alternatives: int = 0
    words: bool = True
    interim: bool = True
    phrase_list: tuple[str, ...] = ()
    phrase_weight: float = 0.0
    written: bool = False
    single_utterance: bool = False
    latency: str = ""
    look_ahead: float | None = None
    endpointing: Mapping[str, float] = field(default_factory=dict)

    def updated(self, values: object) -> Wishes:
        """These with ``values``, an object of JSON.

        Raises:
            ApiError: a value is of no use; or, from a native client, it has no meaning. Vosk-server
                ignores what it does not know, and so do these.
        """
        if not isinstance(values, dict):
            raise ApiError(400, "config is no object", param="config")
        native = bool(values.get("native", self.native))
        known = {}
        for name, value in values.items():
            if name in READERS:
                known[name] = _read(name, value)
            elif native and name != "api_key":
                raise ApiError(400, f"{name[:100]!r} is not known in config", param=name[:100])
        return replace(self, **known)

    def for_audio(self, head: bytes) -> Wishes:
        """These, where nothing was said of the encoding and the audio begins with ``head``.

        Some clients send a file as it is: its header goes before the rate that was given.
        """
        if self.encoding:
            return self
        found = container_of(head)
        if found is None:
            return replace(self, encoding="LINEAR16")
        encoding = found.upper() if found in LIVE else "FILE"
        return replace(self, encoding=encoding, sample_rate=0)

    @property
    def has_samples(self) -> bool:
        """Whether the audio has no header, so that its rate has to be told."""
        return self.encoding in SAMPLES

    def seconds_of(self, count: int) -> float:
        """The duration of ``count`` bytes; 0 where a header would tell."""
        if not self.has_samples or not self.sample_rate:
            return 0.0
        return count / (SAMPLES[self.encoding] * max(self.channels, 1) * self.sample_rate)

    def config(self) -> StreamingRecognitionConfig:
        """What the server is asked for.

        Raises:
            ApiError: a number is too large to be sent.
        """
        try:
            return self._config()
        except (ValueError, OverflowError) as error:
            raise ApiError(400, f"a value of config is out of range: {error}") from None

    def _config(self) -> StreamingRecognitionConfig:
        contexts = []
        if self.phrase_list:
            contexts.append(SpeechContext(phrases=self.phrase_list, boost=self.phrase_weight))
        encoding = "UNSPECIFIED" if self.encoding == "FILE" else self.encoding
        config = StreamingRecognitionConfig(
            config=RecognitionConfig(
                encoding=f"AUDIO_ENCODING_{encoding}",
                sample_rate_hertz=self.sample_rate,
                audio_channel_count=self.channels,
                audio_channel=self.channel,
                decoder=self.decoder,
                beam_width=self.beam_width,
                lm_weight=self.lm_weight,
                max_alternatives=self.max_alternatives,
                enable_word_time_offsets=self.words,
                model=self.model,
                speech_contexts=contexts,
                enable_inverse_text_normalization=self.written,
            ),
            single_utterance=self.single_utterance,
            interim_results=self.interim,
            latency=f"LATENCY_{(self.latency or 'unspecified').upper()}",
        )
        if self.look_ahead is not None:
            config.look_ahead.FromNanoseconds(round(1e9 * self.look_ahead))
        if self.endpointing:
            rules = EndpointingConfig()
            for name, seconds in self.endpointing.items():
                getattr(rules, name).FromNanoseconds(round(1e9 * seconds))
            config.endpointing_config.CopyFrom(rules)
        return config


def _read(name: str, value: object) -> Any:
    try:
        return READERS[name](value)
    except (TypeError, ValueError, OverflowError) as error:
        said = error.args[0] if isinstance(error, _WrongError) else "this is of another kind"
        raise ApiError(400, f"config: {name} is {repr(value)[:100]} ({said})", param=name) from None


class _WrongError(ValueError):
    """What would be right."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongError("give a text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _WrongError("give a number")
    return float(value)


def _count(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise _WrongError("give a whole number")
    return int(number)


def _flag(value: object) -> bool:
    if value not in (0, 1):  # True and False are equal to them
        raise _WrongError("give true or false")
    return bool(value)


def _choice(known: tuple[str, ...], fold: Callable[[str], str]) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = fold(_text(value))
        if text not in known:
            raise _WrongError(f"give one of {', '.join(known)}")
        return text

    return read


def _phrases(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _WrongError("give a list of texts")
    return tuple(text for text in map(_text, value) if text != UNKNOWN_WORD)


def _rules(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or not set(value) <= set(RULES):
        raise _WrongError(f"give an object with some of {', '.join(RULES)}")
    return {name: _number(seconds) for name, seconds in value.items()}


READERS: dict[str, Callable[[object], Any]] = {
    "native": _flag,
    "model": _text,
    "encoding": _choice(ENCODINGS, str.upper),
    "sample_rate": _count,
    "channels": _count,
    "channel": _count,
    "decoder": _text,
    "beam_width": _count,
    "lm_weight": _number,
    "max_alternatives": _count,
    "words": _flag,
    "interim": _flag,
    "phrase_list": _phrases,
    "phrase_weight": _number,
    "written": _flag,
    "single_utterance": _flag,
    "latency": _choice(LATENCIES, str.lower),
    "look_ahead": _number,
    "endpointing": _rules,
}
