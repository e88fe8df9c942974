"""The library espeak-ng, which comes with its voices in the wheel ``espeakng-loader``."""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import espeakng_loader

from asr.types import AsrError

__all__ = ["CHARS_UTF8", "Espeak", "espeak"]

# Constants of espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1


class Espeak(NamedTuple):
    """The library, the folder of its data, and the rate of its speech in hertz."""

    library: ctypes.CDLL
    data: Path
    sample_rate: int


@contextmanager
def espeak() -> Iterator[Espeak]:
    """The library, loaded afresh and initialised; its state is global: one at a time in a process.

    Raises:
        AsrError: it does not load or start.
    """
    data = espeakng_loader.get_data_path()
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise AsrError(
            f"espeak-ng cannot be loaded: {error}", remedy="reinstall espeakng-loader"
        ) from None
    rate = library.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT
    )
    if rate <= 0:
        raise AsrError("espeak-ng does not start", remedy="reinstall espeakng-loader")
    try:
        yield Espeak(library, Path(data), rate)
    finally:
        library.espeak_Terminate()
        if hasattr(_ctypes, "dlclose"):  # not on Windows, where some of its state stays
            _ctypes.dlclose(library._handle)
