"""When a call that failed is made again.

Single-message calls are retried by gRPC itself, as the service config says (gRFC A6,
https://github.com/grpc/proposal/blob/master/A6-client-retries.md). gRPC retries no call that is
*committed*: one whose response headers have come, or whose messages do not fit into the retry
buffer, 256 KiB unless an option of the channel says more.

Streams are not left to gRPC. Its core (seen in 1.85) can lose messages while it replays a stream
that the client is still writing, and the call then succeeds on audio with a hole. So streams go
through a channel without retries, and :class:`Attempts` decides by the same rules.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc

from server.client.errors import ClientError, pushback_of

__all__ = ["DEFAULT_RETRIES", "MAX_RETRIES", "Attempts", "RetryPolicy"]

DEFAULT_RETRIES = 3
MAX_RETRIES = 4  # gRPC makes five attempts at most
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
JITTER = 0.2  # gRPC's own


@dataclass(frozen=True)
class RetryPolicy:
    """``retries`` more attempts after the first, 0 to 4, where the server is full or away.

    The pauses, in seconds, grow from ``first_pause`` by ``factor`` up to ``longest_pause``, each
    up to a fifth longer or shorter by chance; the server's pushback overrides them.

    Raises:
        ClientError: another number of retries.
    """

    retries: int = DEFAULT_RETRIES
    first_pause: float = 0.2
    longest_pause: float = 5.0
    factor: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.retries <= MAX_RETRIES:
            raise ClientError(f"{self.retries} retries (give 0 to {MAX_RETRIES})")

    def service_config(self) -> dict[str, Any]:
        """The policy as gRPC's service config has it, for all methods of the service.

        While more than half of the last hundred attempts failed, gRPC makes no second ones
        (``retryThrottling``): a server in trouble is not asked four times as often.
        """
        if self.retries == 0:
            return {}
        policy = {
            "maxAttempts": self.retries + 1,
            "initialBackoff": f"{self.first_pause}s",
            "maxBackoff": f"{self.longest_pause}s",
            "backoffMultiplier": self.factor,
            "retryableStatusCodes": [code.name for code in RETRYABLE],
        }
        return {
            "methodConfig": [{"name": [{"service": "asr.v1.Speech"}], "retryPolicy": policy}],
            "retryThrottling": {"maxTokens": 100, "tokenRatio": 1},
        }

    def pause(self, attempt: int) -> float:
        """Seconds between attempt number ``attempt`` (from 0) and the next."""
        pause = min(self.first_pause * self.factor**attempt, self.longest_pause)
        return pause * random.uniform(1 - JITTER, 1 + JITTER)


class Attempts:
    """The attempts of one call by ``policy``, all of them within ``timeout`` seconds."""

    def __init__(self, policy: RetryPolicy, timeout: float) -> None:
        self._policy = policy
        self._deadline = time.monotonic() + timeout
        self._failed = 0

    def time_left(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(self._deadline - time.monotonic(), 0.0)

    def pause_after(self, code: grpc.StatusCode, metadata: Iterable[Any] | None) -> float | None:
        """Seconds to wait before the next attempt after one ended with ``code`` and trailing
        ``metadata``, pairs of key and value; None if there is to be none.
        """
        attempt, self._failed = self._failed, self._failed + 1
        if code not in RETRYABLE or attempt >= self._policy.retries:
            return None
        pause = self._policy.pause(attempt)
        pushback = pushback_of(metadata)
        if pushback is not None:
            pause = pushback
        return pause if pause < self.time_left() else None
