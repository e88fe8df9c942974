"""What the server accepts: one table for every method, and what ``proto/asr/v1`` tells clients."""

from __future__ import annotations

__all__ = [
    "ALTERNATIVE_SECONDS",
    "AUDIO_BYTES",
    "AUDIO_SECONDS",
    "DEFAULT_PORT",
    "MAX_ALTERNATIVES",
    "MAX_BEAM_WIDTH",
    "MAX_BOOST",
    "MAX_CHANNELS",
    "MAX_LOOK_AHEAD",
    "MAX_PHRASES",
    "MAX_PHRASE_CHARACTERS",
    "MAX_RATE",
    "MAX_RULE_SECONDS",
    "MAX_SEGMENT_SECONDS",
    "MESSAGE_LIMIT",
    "METADATA_BYTES",
    "MIN_LOOK_AHEAD",
    "MIN_RATE",
    "MIN_RULE_SECONDS",
    "PHRASE_CHARACTERS",
    "POSTERIOR_SECONDS",
    "POSTERIOR_TOKENS",
    "PREFIX_ALTERNATIVES",
    "PREFIX_EXPANSIONS",
    "PREFIX_SECONDS",
    "REQUEST_ID_CHARACTERS",
    "STREAM_BYTES",
    "UPLOAD_BYTES_PER_SECOND",
    "UPLOAD_SECONDS",
]

DEFAULT_PORT = 50051

# Bytes of one message, as serialised: gRPC's own default, so that clients in other languages need
# no setting. Two minutes of 16 kHz LINEAR16; TranscribeChunks carries more.
MESSAGE_LIMIT = 4 * 1024 * 1024

# One piece of audio: bytes as sent, seconds, hertz, channels.
AUDIO_BYTES = 64 * 1024 * 1024
AUDIO_SECONDS = 600.0
MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 8

# An upload that brings less, over the idle time, loses its place. Speech codecs send more.
UPLOAD_BYTES_PER_SECOND = 250

# An upload that takes longer loses it as well: twice the time in which the longest audio is spoken.
UPLOAD_SECONDS = 1200.0

# A live stream: bytes as sent, 37 hours of 16 kHz LINEAR16; seconds that the model may hear ahead.
STREAM_BYTES = 4 * 1024 * 1024 * 1024
MIN_LOOK_AHEAD, MAX_LOOK_AHEAD = 0.1, 2.0

# Of the rules that end its segments: seconds of silence, and of the longest segment.
MIN_RULE_SECONDS, MAX_RULE_SECONDS = 0.1, 600.0
MAX_SEGMENT_SECONDS = 60.0

# Hypotheses in one answer; of those about long audio, as many as fit into MESSAGE_LIMIT.
MAX_ALTERNATIVES = 30

# No client makes a call more than ten times as expensive as the default decoder does.
MAX_BEAM_WIDTH = 100

# Seconds of audio times hypotheses in its answer: each is aligned for its times, which takes time
# in proportion to the square of its length.
ALTERNATIVE_SECONDS = 2000.0

# Prefix search is for measuring models: of longer audio it may take minutes.
PREFIX_SECONDS = 30.0
PREFIX_EXPANSIONS = 100
PREFIX_ALTERNATIVES = 3

# Posteriors are for pictures: nobody looks at more seconds at once, or at more tokens.
POSTERIOR_SECONDS = 60.0
POSTERIOR_TOKENS = 64

# Phrases of one request, characters of one, and what one may add for each token.
MAX_PHRASES = 500
MAX_PHRASE_CHARACTERS = 200
PHRASE_CHARACTERS = 10_000  # of all phrases of one request
MAX_BOOST = 20.0

METADATA_BYTES = 8 * 1024  # gRPC's own default
REQUEST_ID_CHARACTERS = 64
