"""``asr-server`` that keeps a number of bytes of every call, for ``benchmarks.soak`` to find."""

from __future__ import annotations

import os
import sys
from typing import Any

from server.api.pipeline import Pipeline
from server.main import main


def plant_leak(count: int) -> None:
    """From now on every call that is transcribed leaves ``count`` bytes behind."""
    kept: list[bytes] = []
    transcribe = Pipeline.transcribe

    async def leaking(self: Pipeline, *arguments: Any) -> Any:
        kept.append(os.urandom(count))
        return await transcribe(self, *arguments)

    Pipeline.transcribe = leaking  # type: ignore[method-assign]


if __name__ == "__main__":
    if int(sys.argv[1]):
        plant_leak(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
