"""Audio of a microphone, by the package sounddevice."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any

from server.client import ClientError

__all__ = ["Microphone", "on_interrupt"]

BYTES_A_SAMPLE = 2


class Microphone:
    """Iterates over the bytes of 16-bit samples of one channel, until :meth:`stop`.

    Args:
        sample_rate: in hertz.

    Raises:
        ClientError: there is no sounddevice, or, while iterating, no such microphone.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sounddevice = _import_sounddevice()
        self._sample_rate = sample_rate
        # None ends it. A SimpleQueue, because signal handlers may put into it.
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._bytes_left = float("inf")
        self.overflows = 0

    def limit(self, seconds: float) -> None:
        """End by itself after so much audio."""
        self._bytes_left = int(seconds * self._sample_rate) * BYTES_A_SAMPLE

    def stop(self) -> None:
        """End the recording; what was recorded until now is still given."""
        self._blocks.put(None)

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self._sounddevice.RawInputStream(
                samplerate=self._sample_rate, channels=1, dtype="int16", callback=self._keep
            ):
                while self._bytes_left > 0 and (block := self._blocks.get()) is not None:
                    block = block[: int(min(self._bytes_left, len(block)))]
                    self._bytes_left -= len(block)
                    yield block
        except self._sounddevice.PortAudioError as error:
            raise ClientError(
                f"the microphone cannot be used at {self._sample_rate} Hz: {error} "
                f"(another rate: --sample-rate)"
            ) from None

    def _keep(self, data: Any, frames: int, time: object, status: Any) -> None:
        """What PortAudio's thread calls; ``data`` is valid during the call only."""
        self.overflows += bool(status.input_overflow)
        self._blocks.put(bytes(data))


@contextmanager
def on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls ``action``, the next interrupts as ever."""
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        action()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise ClientError(
            "a microphone needs sounddevice (pip install 'peephole-asr[microphone]')"
        ) from None
    except OSError as error:  # the package is there, the library it wraps is not
        raise ClientError(f"a microphone needs PortAudio (libportaudio2): {error}") from None
    return sounddevice
