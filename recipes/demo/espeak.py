"""Speech by espeak-ng, whose library and voices come in the wheel ``espeakng-loader``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import espeakng_loader
import numpy as np

from asr.types import AsrError, Waveform

__all__ = ["Voice", "initialise", "speak"]

# Constants of espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4

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
    """The library, initialised; its state is global, so one a process."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data, INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise AsrError("espeak-ng does not start", remedy="reinstall espeakng-loader")
        self.pieces: list[np.ndarray] = []
        self.callback = CALLBACK(self._receive)  # kept, or the library calls freed memory
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: Voice) -> Waveform:
        self.pieces.clear()
        if self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
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


_engine: _Engine | None = None


def initialise() -> None:
    """Start the library in this process, if it has not started yet."""
    global _engine
    if _engine is None:
        _engine = _Engine()


def speak(text: str, voice: Voice) -> Waveform:
    """Return ``text`` spoken at the library's own rate (22,050 Hz).

    Raises:
        AsrError: there is no such voice, or no sound came.
    """
    initialise()
    assert _engine is not None
    return _engine.speak(text, voice)
