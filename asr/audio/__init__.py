"""Bytes or files to waveforms, within limits."""

from asr.audio.blocks import AudioBlocks, link_blocks, pcm_blocks
from asr.audio.decode import (
    AudioInfo,
    AudioLimits,
    count_channels,
    decode_audio,
    decode_pcm,
    probe,
    read_audio,
    resample,
    write_wav,
)
from asr.audio.limits import OWN_RECORDINGS
from asr.audio.local import check_file, probe_file, read_file
from asr.audio.mono import check_samples
from asr.audio.recording import Recording
from asr.audio.sndfile import encode_flac, recode
from asr.audio.stream import PcmStream, WavStream

__all__ = [
    "OWN_RECORDINGS",
    "AudioBlocks",
    "AudioInfo",
    "AudioLimits",
    "PcmStream",
    "Recording",
    "WavStream",
    "check_file",
    "check_samples",
    "count_channels",
    "decode_audio",
    "decode_pcm",
    "encode_flac",
    "link_blocks",
    "pcm_blocks",
    "probe",
    "probe_file",
    "read_audio",
    "read_file",
    "recode",
    "resample",
    "write_wav",
]
