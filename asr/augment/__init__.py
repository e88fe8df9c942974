"""Changes to training data that leave its text true.

Each is an options class, and a callable ``(samples (N,), rng) -> (M,)`` in float32; where it needs
the sample rate or files, the callable is made from the options.
"""

from asr.augment.babble import AddBabble, BabbleConfig
from asr.augment.chain import AugmentConfig, Chain, make_changes
from asr.augment.change import Change
from asr.augment.joined import JoinConfig, groups_to_join, join
from asr.augment.levels import Clip, Gain
from asr.augment.masks import SpecAugment, SpecAugmentConfig
from asr.augment.no_speech import NoSpeech, NoSpeechConfig
from asr.augment.noise import AddNoise, AddRecordedNoise, RecordedNoiseConfig
from asr.augment.opus import Opus, OpusConfig
from asr.augment.recordings import Recordings
from asr.augment.rooms import Reverberate, RoomConfig
from asr.augment.silence import InsertSilence, SilenceConfig
from asr.augment.speed import SpeedPerturbation
from asr.augment.telephone import Telephone, TelephoneConfig
from asr.augment.vocal_tract import VocalTractConfig

__all__ = [
    "AddBabble",
    "AddNoise",
    "AddRecordedNoise",
    "AugmentConfig",
    "BabbleConfig",
    "Chain",
    "Change",
    "Clip",
    "Gain",
    "InsertSilence",
    "JoinConfig",
    "NoSpeech",
    "NoSpeechConfig",
    "Opus",
    "OpusConfig",
    "RecordedNoiseConfig",
    "Recordings",
    "Reverberate",
    "RoomConfig",
    "SilenceConfig",
    "SpecAugment",
    "SpecAugmentConfig",
    "SpeedPerturbation",
    "Telephone",
    "TelephoneConfig",
    "VocalTractConfig",
    "groups_to_join",
    "join",
    "make_changes",
]
