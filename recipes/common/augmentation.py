"""What training hears in the place of the utterances of a batch."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.augment import (
    AddRecordedNoise,
    AugmentConfig,
    Chain,
    NoSpeech,
    SpeedPerturbation,
    groups_to_join,
    join,
    make_changes,
)

__all__ = ["Augmentation", "Example"]


@dataclass(frozen=True)
class Example:
    """One item of a batch; ``samples (N,)``, and the factor that warps its mel filters."""

    id: str
    speaker: str | None
    text: str
    samples: NDArray[np.float32]
    warp: float = 1.0


class Augmentation:
    """All changes of training speech.

    Those of an utterance follow from seed, epoch and id; which utterances are joined, from those
    of the batch.

    Args:
        config: which changes are made.
        speed: drawn first, or not at all.
        sample_rate: hertz.
        batch_seconds: what a batch may hold, its padding counted.
        draw_speech: gives samples of any utterance.

    Raises:
        AudioError: a folder has no audio, or audio that cannot be used.
    """

    def __init__(
        self,
        config: AugmentConfig,
        speed: SpeedPerturbation | None,
        sample_rate: int,
        batch_seconds: float,
        draw_speech: Callable[[np.random.Generator], NDArray[np.float32]],
    ) -> None:
        self.config = config
        self.speed = speed
        self.sample_rate = sample_rate
        self.batch_seconds = batch_seconds
        changes = make_changes(config, sample_rate, draw_speech)
        self.chain = Chain(changes)
        noise = changes.get("noise")
        recordings = noise.recordings if isinstance(noise, AddRecordedNoise) else None
        self.no_speech = config.no_speech and NoSpeech(config.no_speech, recordings)

    @property
    def stretch(self) -> float:
        """The length at the slowest speed, as a factor."""
        return 1 / min(self.speed.factors) if self.speed else 1.0

    @property
    def shrink(self) -> float:
        """The length at the fastest speed, as a factor."""
        return 1 / max(self.speed.factors) if self.speed else 1.0

    def fewest_frames(self, seconds: float, num_frames: Callable[[int], int]) -> int:
        """Frames that are left at least for the text of an utterance of ``seconds``.

        Where it is joined to another one, its own frames and those of the pause also have to hold
        the space between the texts, or the blank between equal phones, and one frame may be lost
        where frames are joined.
        """
        samples = int(seconds * self.shrink * self.sample_rate)
        frames = num_frames(samples)
        if self.config.join is None:
            return frames
        pause = int(self.config.join.min_pause * self.sample_rate)
        return min(frames, num_frames(samples + pause) - 2)

    def __call__(self, examples: Sequence[Example], seed: int, epoch: int) -> list[Example]:
        """Change the utterances of a batch; there may be fewer of them then."""
        spoken = [self._spoken(example, [seed, epoch]) for example in examples]
        return [
            self._recorded(example, [seed, epoch]) for example in self._joined(spoken, seed, epoch)
        ]

    def _spoken(self, example: Example, key: list[int]) -> Example:
        """At another speed, or not spoken at all."""
        key = [*key, _number(example.id)]
        samples = example.samples
        if self.speed is not None:
            samples = self.speed(samples, np.random.default_rng(key))
        if self.no_speech is not None:
            noise = self.no_speech(
                len(samples), np.random.default_rng([*key, _number("no_speech")])
            )
            if noise is not None:
                return replace(example, samples=noise, text="")
        return replace(example, samples=samples)

    def _joined(self, examples: list[Example], seed: int, epoch: int) -> list[Example]:
        config = self.config.join
        if config is None:
            return examples
        rng = np.random.default_rng(
            [seed, epoch, _number("+".join(example.id for example in examples)), _number("join")]
        )
        added = self.config.max_added_seconds
        seconds = [len(example.samples) / self.sample_rate for example in examples]
        groups = groups_to_join(config, seconds, self.batch_seconds, added, rng)
        return [self._one([examples[index] for index in group], rng) for group in groups]

    def _one(self, parts: list[Example], rng: np.random.Generator) -> Example:
        """Several examples as one."""
        config = self.config.join
        if len(parts) == 1 or config is None:
            return parts[0]
        speakers = {part.speaker for part in parts}
        return Example(
            "+".join(part.id for part in parts),
            parts[0].speaker if len(speakers) == 1 else None,
            " ".join(part.text for part in parts if part.text),
            join(config, [part.samples for part in parts], self.sample_rate, rng),
        )

    def _recorded(self, example: Example, key: list[int]) -> Example:
        """In a room, over a line, by another voice."""
        key = [*key, _number(example.id)]
        samples, warp = self.chain(example.samples, key), 1.0
        if self.config.vocal_tract is not None:
            warp = self.config.vocal_tract.draw(
                np.random.default_rng([*key, _number("vocal_tract")])
            )
        return replace(example, samples=samples, warp=warp)


def _number(name: str) -> int:
    return zlib.crc32(os.fsencode(name))
