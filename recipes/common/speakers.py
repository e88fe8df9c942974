"""Normalisation by speaker (CMVN per speaker, as in Kaldi) where training is over.

A speaker's mean and variance are those of their recordings in the set at hand. A bundle does not
know who speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from asr.audio import resample
from asr.bundle import Bundle
from asr.features import FeatureExtractor
from asr.recognizer import Recognizer
from asr.types import Waveform

__all__ = ["fit_speakers", "for_unknown_speakers"]


def fit_speakers(recognizer: Recognizer, recordings: Iterable[tuple[Waveform, str | None]]) -> None:
    """Take the statistics of each speaker from ``recordings``, if ``recognizer`` normalises so."""
    extractor = recognizer.bundle.extractor
    if extractor.config.normalisation == "speaker":
        extractor.fit_speakers(_batches(recordings, recognizer))


def _batches(
    recordings: Iterable[tuple[Waveform, str | None]], recognizer: Recognizer
) -> Iterator[tuple[Tensor, Tensor, list[str | None]]]:
    for waveform, speaker in recordings:
        samples = torch.from_numpy(resample(waveform, recognizer.sample_rate).samples)
        waveforms = samples.unsqueeze(0).to(recognizer.device)  # (1, N)
        yield waveforms, torch.tensor([len(samples)], device=recognizer.device), [speaker]


def for_unknown_speakers(bundle: Bundle) -> Bundle:
    """``bundle`` as it works where nobody says who speaks: by utterance instead of by speaker.

    Its metadata say so.
    """
    old = bundle.extractor
    if old.config.normalisation != "speaker":
        return bundle
    extractor = FeatureExtractor(replace(old.config, normalisation="utterance"))
    extractor.load_state_dict(old.state_dict())
    metadata = {**bundle.metadata, "normalisation in training": "speaker"}
    return replace(bundle, extractor=extractor.eval(), metadata=metadata)
