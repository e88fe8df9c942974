"""Speech by espeak-ng."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from asr.types import AsrError, Waveform
from recipes.common.espeak import CHARS_UTF8, Espeak, espeak

__all__ = ["Voice", "speak"]

# Constants of espeak-ng's speak_lib.h.
POS_CHARACTER = 1
RATE, PITCH, RANGE = 1, 3, 4

SEED = 1  # of the noise in breath

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """How to speak: an espeak-ng voice, words per minute, pitch and its range (0 to 99)."""

    name: str
    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50


class _Engine:
    """The library, ready to speak.

    One line always gives the same samples, which takes three measures: the phase of a voice's
    flutter outlives even ``espeak_Terminate``, so the library is loaded afresh; breath comes from
    noise that it seeds by the clock; and Klatt voices take theirs from the C library's ``rand``.
    """

    def __init__(self, loaded: Espeak) -> None:
        self.library, self.sample_rate = loaded.library, loaded.sample_rate
        self.timbres = loaded.data / "voices" / "!v"
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        if hasattr(self.library, "srand"):  # found through the library; not on Windows
            self.library.srand(SEED)
        self.pieces: list[np.ndarray] = []
        self.callback = CALLBACK(self._receive)  # kept, or the library calls freed memory
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: Voice) -> Waveform:
        timbre = voice.name.partition("+")[2]
        # An unknown timbre is no error to the library: it would speak in the plain voice.
        known = not timbre or (self.timbres / timbre).is_file()
        if not known or self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise AsrError(f"espeak-ng has no voice {voice.name!r}")
        for parameter, value in (
            (RATE, voice.rate),
            (PITCH, voice.pitch),
            (RANGE, voice.pitch_range),
        ):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(
            data, ctypes.c_size_t(len(data)), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
        )
        self.library.espeak_Synchronize()
        if not self.pieces:
            raise AsrError(f"espeak-ng gave no sound for {text!r}")
        return Waveform(np.concatenate(self.pieces).astype(np.float32) / 32768, self.sample_rate)


def speak(text: str, voice: Voice) -> Waveform:
    """Return ``text`` spoken at the library's own rate (22,050 Hz); always the same samples.

    Raises:
        AsrError: the library does not start, there is no such voice, or no sound came.
    """
    with espeak() as loaded:
        return _Engine(loaded).speak(text, voice)
