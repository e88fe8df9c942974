"""What a request may ask for and what not, to the unit: one table for every way into the service.

Each door into the service has a test that goes through it.
"""

from __future__ import annotations

import struct

from server.limits import (
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_BOOST,
    MAX_CHANNELS,
    MAX_PHRASE_CHARACTERS,
    MAX_PHRASES,
    MAX_RATE,
    MIN_RATE,
    PREFIX_ALTERNATIVES,
    PREFIX_SECONDS,
)
from server.pb.v1 import speech_pb2 as pb

FILE = pb.RecognitionConfig()


def raw(encoding: str = "LINEAR16", rate: int = 16_000, **more) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(
        encoding=f"AUDIO_ENCODING_{encoding}", sample_rate_hertz=rate, **more
    )


def hoping(phrases: list[str], boost: float = 0.0) -> pb.RecognitionConfig:
    return raw(speech_contexts=[pb.SpeechContext(phrases=phrases, boost=boost)])


def wav(frames: int, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
    """A WAV file of silence."""
    step = channels * bits // 8
    size = frames * step
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    fields = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * step, step, bits)
    return head + fields + b"data" + struct.pack("<I", size) + bytes(size)


SECOND = bytes(32_000)
BEYOND = {  # configuration, audio, words of the refusal
    "rate below": (raw(rate=MIN_RATE - 1), SECOND, "3999 Hz (use 4000 to 192000 Hz)"),
    "rate above": (raw(rate=MAX_RATE + 1), SECOND, "192001 Hz (use 4000 to 192000 Hz)"),
    "rate negative": (raw(rate=-16_000), SECOND, "-16000 Hz (use 4000 to 192000 Hz)"),
    "rate below, in a header": (FILE, wav(16_000, MIN_RATE - 1), "3999 Hz (use 4000 to 192000 Hz)"),
    "rate above, in a header": (
        *(FILE, wav(16_000, MAX_RATE + 1)),
        "192001 Hz (use 4000 to 192000 Hz)",
    ),
    "channels": (raw(audio_channel_count=MAX_CHANNELS + 1), bytes(36_000), "9 channels (use 1 to"),
    "channels negative": (raw(audio_channel_count=-1), SECOND, "-1 channels (use 1 to 8)"),
    "channels, in a header": (
        FILE,
        wav(8_000, 16_000, MAX_CHANNELS + 1),
        "9 channels (use 1 to 8)",
    ),
    "channel index": (
        *(raw(audio_channel_count=2, audio_channel=MAX_CHANNELS + 1), SECOND),
        "audio_channel is 9 (give 1 to 8",
    ),
    "channel index negative": (raw(audio_channel=-1), SECOND, "audio_channel is -1 (give 1 to 8"),
    "alternatives": (
        *(raw(beam_width=100, max_alternatives=MAX_ALTERNATIVES + 1), SECOND),
        "max_alternatives is 31 (give 1 to 30",
    ),
    "alternatives negative": (raw(max_alternatives=-1), SECOND, "max_alternatives is -1 (give 1"),
    "beam width": (raw(beam_width=MAX_BEAM_WIDTH + 1), SECOND, "beam_width is 101 (give 1 to 100"),
    "beam width negative": (raw(beam_width=-1), SECOND, "beam_width is -1 (give 1 to 100"),
    "beam width, largest of its type": (raw(beam_width=2**31 - 1), SECOND, "(give 1 to 100"),
    "phrases": (hoping(["a"] * (MAX_PHRASES + 1)), SECOND, "501 phrases (give at most 500)"),
    "characters of phrases": (
        *(hoping(["a" * 100] * 101), SECOND),
        "the phrases have 10100 characters (give at most 10000)",
    ),
    "alternatives of prefix search": (
        *(raw(decoder="prefix", max_alternatives=PREFIX_ALTERNATIVES + 1), SECOND),
        "max_alternatives is 4 (give 1 to 3",
    ),
    "seconds of prefix search": (
        *(raw(decoder="prefix"), bytes(int(PREFIX_SECONDS + 1) * 32_000)),
        "prefix search is for up to 30 s",
    ),
    "characters of a phrase": (
        *(hoping(["a" * (MAX_PHRASE_CHARACTERS + 1)]), SECOND),
        "201 characters (give at most 200)",
    ),
    "boost": (hoping(["a"], MAX_BOOST + 1), SECOND, "boost is 21 (give a number from -20 to 20)"),
    "boost, no number": (hoping(["a"], float("nan")), SECOND, "boost is nan (give a number"),
    "language model's weight": (raw(lm_weight=101.0), SECOND, "the model has no language model"),
}

WITHIN = {
    "rate low": (raw(rate=MIN_RATE), SECOND),
    "rate high": (raw(rate=MAX_RATE), bytes(2 * MAX_RATE)),
    "rate low, in a header": (FILE, wav(MIN_RATE, MIN_RATE)),
    "rate high, in a header": (FILE, wav(MAX_RATE, MAX_RATE)),
    "channels": (raw(audio_channel_count=MAX_CHANNELS, audio_channel=MAX_CHANNELS), SECOND),
    "channels, in a header": (FILE, wav(8_000, 16_000, MAX_CHANNELS)),
    "phrases": (hoping(["a"] * MAX_PHRASES, MAX_BOOST), SECOND),
    "characters of a phrase": (hoping(["a" * MAX_PHRASE_CHARACTERS], -MAX_BOOST), SECOND),
    "decoder": (raw(beam_width=MAX_BEAM_WIDTH, max_alternatives=MAX_ALTERNATIVES), SECOND),
}
# Live streams may last for hours, and have no such decoder.
LIVE = [name for name in BEYOND if not name.endswith("of prefix search")]
