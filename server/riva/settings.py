"""What Riva's clients set beside the audio: ``custom_configuration`` and where segments end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration

from asr.types import ConfigError
from server.limits import MAX_RULE_SECONDS, MIN_RULE_SECONDS
from server.pb.v1.speech_pb2 import (
    LATENCY_HIGH,
    LATENCY_LOW,
    LATENCY_MEDIUM,
    EndpointingConfig,
    RecognitionConfig,
    StreamingRecognitionConfig,
)

__all__ = ["apply_custom", "apply_live_custom", "read_boost", "read_endpointing"]

LATENCIES = {"low": LATENCY_LOW, "medium": LATENCY_MEDIUM, "high": LATENCY_HIGH}
THRESHOLDS = ("start_threshold", "stop_threshold", "stop_threshold_eou")
WINDOWS = ("start_history", "stop_history_eou")  # of which none is used
MOST_INT = 2**31 - 1
MOST_BOOST, HALF_BOOST = 3.0, 20.0  # ours, and the boost of Riva's that gives half of it


def apply_custom(custom: Mapping[str, str], config: RecognitionConfig) -> None:
    """Set in ``config`` what Riva's own messages have no field for.

    Keys are fields of ``asr.v1``. Others are for plug-ins of Riva's and change nothing here, as
    they change nothing there without the plug-in.

    Raises:
        ConfigError: a value is not of the kind that its key takes.
    """
    if "decoder" in custom:
        config.decoder = custom["decoder"]
    if "beam_width" in custom:
        config.beam_width = _whole("beam_width", custom["beam_width"])
    if "audio_channel" in custom:
        config.audio_channel = _whole("audio_channel", custom["audio_channel"])
    if "lm_weight" in custom:
        config.lm_weight = _number("lm_weight", custom["lm_weight"])


def apply_live_custom(custom: Mapping[str, str], config: StreamingRecognitionConfig) -> None:
    """The same of a live stream: its look-ahead in seconds, and its latency.

    Raises:
        ConfigError: see :func:`apply_custom`.
    """
    if "look_ahead" in custom:
        seconds = _number("look_ahead", custom["look_ahead"])
        config.look_ahead.CopyFrom(_duration("look_ahead", seconds))
    if "latency" in custom:
        latency = LATENCIES.get(custom["latency"].lower())
        if latency is None:
            raise _wrong("latency", custom["latency"], "low, medium or high")
        config.latency = latency


def read_boost(boost: float) -> float:
    """What a phrase is to add for each token, for a ``boost`` of Riva's.

    Riva's is for a word, its client gives 4 unless it is told another, and 20 to 100 are
    recommended. Here 1 to 3 for each token are of use, and 10 makes any audio the phrase: 4, 20 and
    100 become 0.5, 1.5 and 2.5.

    Raises:
        ConfigError: it is not a number.
    """
    if not math.isfinite(boost):
        raise ConfigError(f"the boost is {boost:g}", remedy="give a number, such as 20")
    return MOST_BOOST * boost / (abs(boost) + HALF_BOOST)


def read_endpointing(config: Any) -> EndpointingConfig:
    """The rules for the ``EndpointingConfig`` of Riva's that is ``config``.

    ``stop_history`` is the silence after words that ends a segment. The shares of a window that
    have to be silent are checked and no more: here all of it has to be, and there is one pass.

    Raises:
        ConfigError: a value is out of range.
    """
    for name in THRESHOLDS:
        if config.HasField(name) and not 0.0 <= getattr(config, name) <= 1.0:
            raise ConfigError(f"{name} is {getattr(config, name):g}", remedy="give 0 to 1")
    for name in WINDOWS:
        if config.HasField(name) and getattr(config, name) < 0:
            raise ConfigError(f"{name} is {getattr(config, name)}", remedy="give milliseconds")
    rules = EndpointingConfig()
    if config.HasField("stop_history"):
        seconds = config.stop_history / 1000
        if not MIN_RULE_SECONDS <= seconds <= MAX_RULE_SECONDS:
            raise ConfigError(
                f"stop_history is {config.stop_history} ms",
                remedy=f"give {1000 * MIN_RULE_SECONDS:.0f} to {1000 * MAX_RULE_SECONDS:.0f} ms",
            )
        rules.rule2_min_trailing_silence.CopyFrom(_duration("stop_history", seconds))
    return rules


def _whole(key: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise _wrong(key, text, "a whole number") from None
    if abs(value) > MOST_INT:
        raise _wrong(key, text, "a smaller number")
    return value


def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong(key, text, "a number") from None
    if not math.isfinite(value) or abs(value) > MOST_INT:
        raise _wrong(key, text, "a smaller number")
    return value


def _duration(key: str, seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _wrong(key: str, text: str, remedy: str) -> ConfigError:
    return ConfigError(f"custom_configuration: {key} is {text!r}", remedy=f"give {remedy}")
