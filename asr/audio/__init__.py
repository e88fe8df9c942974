"""Bytes or files to waveforms, within limits."""

from asr.audio.decode import (
    AudioInfo,
    AudioLimits,
    decode_audio,
    decode_pcm,
    probe,
    read_audio,
    resample,
    write_wav,
)
from asr.audio.sndfile import recode

__all__ = [
    "AudioInfo",
    "AudioLimits",
    "decode_audio",
    "decode_pcm",
    "probe",
    "read_audio",
    "recode",
    "resample",
    "write_wav",
]
