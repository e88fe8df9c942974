"""One recording among the bytes that hold it, and the error where some of it is missing."""

from __future__ import annotations

from dataclasses import dataclass

from asr.types import AudioError

__all__ = ["RESTORE", "Link", "cut_short"]

RESTORE = "send the whole recording; ffmpeg -i IN OUT makes a whole one of what is left"


@dataclass(frozen=True)
class Link:
    """One recording.

    Attributes:
        container: its name, one of :data:`asr.audio.containers.ACCEPTED` or another of FFmpeg's.
        parts: the bytes that a decoder is to be given, in parts.
        frames: samples of each channel, where they were counted and the decoder only guesses.
        is_own: somebody's own file on their own machine: FFmpeg may use any codec that it has.
    """

    container: str
    parts: tuple[bytes | memoryview, ...]
    frames: int | None = None
    is_own: bool = False


def cut_short(there: int, promised: int, speed: float, unit: str) -> AudioError:
    """The error of a recording of which ``there`` is left of what was ``promised``.

    Both are counts of ``unit``, of which there are ``speed`` a second (0: not known).
    """
    missing = promised - there
    if not 0 < speed <= 100 * missing:  # so little, or at an impossible rate
        what = f"{missing} of its {promised} {unit} are missing"
    else:
        what = f"{missing / speed:.2f} of its {promised / speed:.2f} s are missing"
    return AudioError(f"the audio is cut short: {what}", remedy=RESTORE)
