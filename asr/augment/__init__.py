"""Changes to training data that leave its text true.

Each is an options class, and a callable ``(samples (N,), rng) -> (M,)`` in float32; where it needs
the sample rate or files, the callable is made from the options.
"""

from asr.augment.chain import AugmentConfig, Chain, make_changes
from asr.augment.change import Change
from asr.augment.levels import Clip, Gain
from asr.augment.masks import SpecAugment, SpecAugmentConfig
from asr.augment.noise import AddNoise, AddRecordedNoise, RecordedNoiseConfig
from asr.augment.silence import InsertSilence, SilenceConfig
from asr.augment.speed import SpeedPerturbation
from asr.augment.telephone import Telephone, TelephoneConfig

__all__ = [
    "AddNoise",
    "AddRecordedNoise",
    "AugmentConfig",
    "Chain",
    "Change",
    "Clip",
    "Gain",
    "InsertSilence",
    "RecordedNoiseConfig",
    "SilenceConfig",
    "SpecAugment",
    "SpecAugmentConfig",
    "SpeedPerturbation",
    "Telephone",
    "TelephoneConfig",
    "make_changes",
]
