"""Standard input, for a thread of gRPC's to read."""

from __future__ import annotations

import sys
from typing import BinaryIO, cast

from server.client import ClientError

__all__ = ["standard_input"]


def standard_input() -> BinaryIO:
    """Its bytes, without a buffer: at the end nobody waits for one that another thread holds.

    Raises:
        ClientError: it is closed.
    """
    if sys.stdin is None:
        raise ClientError("standard input is closed")
    return cast(BinaryIO, getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
