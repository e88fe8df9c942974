"""Which changes are made to training speech, and in which order."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from asr.augment.babble import AddBabble, BabbleConfig
from asr.augment.change import Change, Samples
from asr.augment.joined import JoinConfig
from asr.augment.levels import Clip, Gain, limit
from asr.augment.no_speech import NoSpeechConfig
from asr.augment.noise import AddNoise, AddRecordedNoise, RecordedNoiseConfig
from asr.augment.opus import Opus, OpusConfig
from asr.augment.rooms import Reverberate, RoomConfig
from asr.augment.silence import InsertSilence, SilenceConfig
from asr.augment.telephone import Telephone, TelephoneConfig
from asr.augment.vocal_tract import VocalTractConfig

__all__ = ["AugmentConfig", "Chain", "make_changes"]


@dataclass(frozen=True)
class AugmentConfig:
    """Changes of training speech that leave its text true; those left out are not made.

    They are made in the order in which sound meets them: speech, room, microphone, line.

    Attributes:
        no_speech: audio without words in the place of utterances.
        join: utterances joined to longer ones.
        silence: before, after and between words.
        room: walls around the speaker.
        babble: other utterances of the training split, added.
        noise: recordings from a folder, added.
        computed_noise: white or pink noise, added.
        gain: louder or fainter.
        clipping: peaks cut off.
        telephone: the band and the coding of a telephone line.
        opus: coding at a low rate.
        vocal_tract: longer and shorter vocal tracts, by the filters of the features.
    """

    no_speech: NoSpeechConfig | None = None
    join: JoinConfig | None = None
    silence: SilenceConfig | None = None
    room: RoomConfig | None = None
    babble: BabbleConfig | None = None
    noise: RecordedNoiseConfig | None = None
    computed_noise: AddNoise | None = None
    gain: Gain | None = None
    clipping: Clip | None = None
    telephone: TelephoneConfig | None = None
    opus: OpusConfig | None = None
    vocal_tract: VocalTractConfig | None = None

    @property
    def max_added_seconds(self) -> float:
        """How much longer the changes of a waveform can make it."""
        return self.silence.max_seconds if self.silence else 0.0


def make_changes(
    config: AugmentConfig,
    sample_rate: int,
    draw_speech: Callable[[np.random.Generator], Samples],
) -> dict[str, Change]:
    """The changes of waveforms that ``config`` asks for, by the names of its fields, in order.

    ``draw_speech`` gives the samples of any utterance, for babble.

    Raises:
        AudioError: a folder has no audio, or audio that cannot be used.
    """
    changes: dict[str, Change] = {}
    if config.silence is not None:
        changes["silence"] = InsertSilence(config.silence, sample_rate)
    if config.room is not None:
        changes["room"] = Reverberate(config.room, sample_rate)
    if config.babble is not None:
        changes["babble"] = AddBabble(config.babble, draw_speech)
    if config.noise is not None:
        changes["noise"] = AddRecordedNoise(config.noise, sample_rate)
    if config.computed_noise is not None:
        changes["computed_noise"] = config.computed_noise
    if config.gain is not None:
        changes["gain"] = config.gain
    if config.clipping is not None:
        changes["clipping"] = config.clipping
    if config.telephone is not None:
        changes["telephone"] = Telephone(config.telephone, sample_rate)
    if config.opus is not None:
        changes["opus"] = Opus(config.opus, sample_rate)
    return changes


class Chain:
    """Changes, one after the other; the result never goes beyond full scale.

    Each has a source of chance of its own, which follows from the key and its name: to add a change
    or leave one out does not alter what the others do.
    """

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self.changes = dict(changes)

    def __call__(self, samples: Samples, key: Iterable[int]) -> Samples:
        """Map ``(N,)`` to ``(M,)``; all chance follows from ``key``, numbers of at least 0."""
        key = tuple(key)
        for name, change in self.changes.items():
            rng = np.random.default_rng([*key, zlib.crc32(name.encode())])
            samples = change(samples, rng)
        return limit(samples) if self.changes else samples
