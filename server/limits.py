"""What the server accepts: one table for every method, and what ``proto/asr/v1`` tells clients."""

from __future__ import annotations

__all__ = [
    "AUDIO_BYTES",
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
    "MOST_SECONDS",
    "PHRASE_CHARACTERS",
    "POSTERIOR_SECONDS",
    "POSTERIOR_TOKENS",
    "PREFIX_ALTERNATIVES",
    "PREFIX_EXPANSIONS",
    "PREFIX_SECONDS",
    "REQUEST_ID_CHARACTERS",
    "SPOKEN_SECONDS",
    "STREAM_BYTES",
    "UPLOAD_BYTES_PER_SECOND",
    "UPLOAD_SECONDS",
    "WHOLE_BYTES",
    "WHOLE_SECONDS",
]

DEFAULT_PORT = 50051
MOST_SECONDS = 10**8  # that a client may wait: gRPC's clock ends somewhere behind that

# Bytes of one message, as serialised: gRPC's own default, so that clients in other languages need
# no setting. Two minutes of 16 kHz LINEAR16; TranscribeChunks carries more.
MESSAGE_LIMIT = 4 * 1024 * 1024

# One recording: bytes as sent, 4.6 hours of 16 kHz LINEAR16; hertz, channels. However long it is:
# what is said in it has to fit into the answer, and that is a message.
AUDIO_BYTES = 512 * 1024 * 1024
MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 8

# More bytes than that are kept in a file, and longer audio is decoded block by block.
WHOLE_BYTES = 64 * 1024 * 1024
WHOLE_SECONDS = 600.0

# An upload that brings less, over the idle time, loses its place. Speech codecs send more.
UPLOAD_BYTES_PER_SECOND = 250

# Audio that is sent as it is spoken, and answered at its end. An upload that takes twice as long
# loses its place as well.
SPOKEN_SECONDS = 14_400.0
UPLOAD_SECONDS = 2 * SPOKEN_SECONDS

# A live stream: bytes as sent, 37 hours of 16 kHz LINEAR16; seconds that the model may hear ahead.
STREAM_BYTES = 4 * 1024 * 1024 * 1024
MIN_LOOK_AHEAD, MAX_LOOK_AHEAD = 0.1, 2.0

# Of the rules that end its segments: seconds of silence, and of the longest segment.
MIN_RULE_SECONDS, MAX_RULE_SECONDS = 0.1, 600.0
MAX_SEGMENT_SECONDS = 60.0

# Hypotheses in one answer; audio that is cut into segments has one.
MAX_ALTERNATIVES = 30

# No client makes a call more than ten times as expensive as the default decoder does.
MAX_BEAM_WIDTH = 100

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
