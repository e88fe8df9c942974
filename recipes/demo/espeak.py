"""Speech by espeak-ng, whose library and voices come in the wheel ``espeakng-loader``."""

from __future__ import annotations

import _ctypes
import ctypes
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np

from asr.types import AsrError, Waveform

__all__ = ["Voice", "speak"]

# Constants of espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
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
    """The library, initialised; its state is global, so one at a time in a process.

    One line always gives the same samples, which takes three measures: the phase of a voice's
    flutter outlives even ``espeak_Terminate``, so the library is loaded afresh; breath comes from
    noise that it seeds by the clock; and Klatt voices take theirs from the C library's ``rand``.
    """

    def __init__(self) -> None:
        data = espeakng_loader.get_data_path()
        self.timbres = Path(data) / "voices" / "!v"
        try:
            self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise AsrError(
                f"espeak-ng cannot be loaded: {error}", remedy="reinstall espeakng-loader"
            ) from None
        self.sample_rate = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise AsrError("espeak-ng does not start", remedy="reinstall espeakng-loader")
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

    def close(self) -> None:
        self.library.espeak_Terminate()
        if hasattr(_ctypes, "dlclose"):  # not on Windows, where the phase stays
            _ctypes.dlclose(self.library._handle)


def speak(text: str, voice: Voice) -> Waveform:
    """Return ``text`` spoken at the library's own rate (22,050 Hz); always the same samples.

    Raises:
        AsrError: the library does not start, there is no such voice, or no sound came.
    """
    engine = _Engine()
    try:
        return engine.speak(text, voice)
    finally:
        engine.close()
