"""Numbers that the server, its client and ``proto/asr/v1`` must agree on."""

from __future__ import annotations

__all__ = ["DEFAULT_PORT", "MAX_ALTERNATIVES", "MESSAGE_LIMIT"]

DEFAULT_PORT = 50051

# Bytes of one message, as serialised: gRPC's own default, so that clients in other languages need
# no setting. Two minutes of 16 kHz LINEAR16; TranscribeChunks carries more.
MESSAGE_LIMIT = 4 * 1024 * 1024

# Hypotheses in one answer: keeps an answer about the longest audio below MESSAGE_LIMIT.
MAX_ALTERNATIVES = 30
