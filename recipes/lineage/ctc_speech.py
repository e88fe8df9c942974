"""Speech whose phones have known places: TIMIT where it is prepared, else a code of tones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import resample
from asr.features import FeatureExtractor
from asr.features.config import FeatureConfig
from asr.tokens import BLANK
from recipes.common.data import manifest_path
from recipes.common.manifests import load_samples, read_manifest
from recipes.timit.corpus import phones_beside
from recipes.timit.phones import fold39, fold48

__all__ = ["NO_LABEL", "Corpus", "Segment", "Spoken", "timit", "tones"]

# Half as many frames as the paper's, each longer, to compute.
FEATURES = replace(FeatureConfig.preset("graves2006"), frame_length_ms=25.0, frame_shift_ms=10.0)
RATE = FEATURES.sample_rate
NO_LABEL = -100  # a frame of no class: TIMIT's glottal stop, which the 39 classes leave out
TIMIT_DATA = Path("exp/timit/data")  # what `python -m recipes.timit prepare` writes


@dataclass(frozen=True)
class Segment:
    """A phone from one sample up to, but without, another."""

    phone: str
    begin: int
    end: int


@dataclass(frozen=True)
class Spoken:
    """One utterance.

    Attributes:
        id: its name.
        features: ``(T, F)``.
        labels: the phones' ids in their order, ``(S,)``.
        spans: first frame and frame after the last of each, ``(S, 2)``.
        frames: the class of each frame, ``(T,)``; :data:`NO_LABEL` where there is none.
    """

    id: str
    features: Tensor
    labels: Tensor
    spans: NDArray[np.int64]
    frames: Tensor


@dataclass(frozen=True)
class Corpus:
    """Utterances to learn from, and others of speakers who are not among those.

    ``tokens`` are the classes' names, the blank first.
    """

    title: str
    tokens: tuple[str, ...]
    train: list[Spoken]
    held_out: list[Spoken]


Raw = tuple[str, NDArray[np.float32], list[Segment]]  # id, samples at RATE, phones


def _corpus(title: str, train: list[Raw], held_out: list[Raw]) -> Corpus:
    """Features, normalised by the statistics of ``train``, and frames' classes."""
    phones = sorted({segment.phone for _, _, segments in train for segment in segments})
    tokens = (BLANK, *phones)
    extractor = FeatureExtractor(FEATURES)
    extractor.fit_statistics((*_batch(samples), None) for _, samples, _ in train)
    train_and_held_out = [[_spoken(raw, tokens, extractor) for raw in p] for p in (train, held_out)]
    return Corpus(title, tokens, *train_and_held_out)


def _batch(samples: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(samples).unsqueeze(0), torch.tensor([len(samples)])


def _spoken(raw: Raw, tokens: tuple[str, ...], extractor: FeatureExtractor) -> Spoken:
    name, samples, segments = raw
    features = extractor(*_batch(samples))[0][0]
    middles = np.arange(len(features)) * FEATURES.hop_length + FEATURES.frame_span // 2
    bounds = np.array([(segment.begin, segment.end) for segment in segments])
    spans = np.searchsorted(middles, bounds)
    labels = [tokens.index(segment.phone) for segment in segments]
    frames = torch.full((len(features),), NO_LABEL)
    for label, (begin, end) in zip(labels, spans.tolist(), strict=True):
        frames[begin:end] = label
    return Spoken(name, features, torch.tensor(labels), spans, frames)


# TIMIT


def timit(most_train: int, most_held_out: int, data: Path = TIMIT_DATA) -> Corpus | None:
    """What ``python -m recipes.timit prepare`` found, or None if it has not been run.

    Of a corpus larger than asked, utterances are taken at equal steps.

    Raises:
        CorpusError: what was prepared is no longer there, or not whole.
    """
    if not manifest_path(data, "train").is_file():
        return None
    parts = []
    for split, most in (("train", most_train), ("dev", most_held_out)):
        cuts = sorted(read_manifest(manifest_path(data, split)), key=lambda cut: cut.id)
        kept = np.unique(np.linspace(0, len(cuts) - 1, most).round().astype(int))
        parts.append([_read(cuts[k]) for k in kept])
    return _corpus("TIMIT", *parts)


def _read(cut) -> Raw:  # type: ignore[no-untyped-def]
    audio = Path(cut.recording.sources[0].source)
    rows = [line.split() for line in phones_beside(audio).read_text(encoding="ascii").splitlines()]
    samples = resample(load_samples(cut), RATE).samples
    return cut.id, samples, folded((row[2], int(row[0]), int(row[1])) for row in rows if row)


def folded(rows: Iterable[tuple[str, int, int]]) -> list[Segment]:
    """Fold rows of phones to the 39 classes; neighbours that become one class become one."""
    segments: list[Segment] = []
    for phone, begin, end in rows:
        for name in fold39(fold48([phone])):  # none for the glottal stop
            if segments and segments[-1].phone == name and segments[-1].end == begin:
                begin = segments.pop().begin
            segments.append(Segment(name, begin, end))
    return segments


# Tones

SILENCE = "sil"
# Two partials each, in hertz, about where vowels have their first formants.
FORMANTS = {
    "i": (280, 2250),
    "e": (450, 1950),
    "a": (750, 1250),
    "o": (480, 900),
    "u": (310, 750),
    "s": (3900, 5200),
    "n": (250, 1450),
    "r": (420, 3100),
}
HISS = 0.003  # of the recording, where a partial has 0.1


def tones(train: int, held_out: int, seed: int = 2006) -> Corpus:
    """Phones of two partials in a random order, each for 50 to 160 ms, between silences.

    A speaker, one an utterance, scales all frequencies by a factor of their own.
    """
    rng = np.random.default_rng(seed)
    raw = [_speak(f"tones-{number:03d}", rng) for number in range(train + held_out)]
    return _corpus("synthetic tones", raw[:train], raw[train:])


def _speak(name: str, rng: np.random.Generator) -> Raw:
    order = [SILENCE]
    for _ in range(int(rng.integers(6, 13))):
        order.append(str(rng.choice([phone for phone in FORMANTS if phone != order[-1]])))
    size = rng.uniform(0.88, 1.14)
    pieces, segments, begin = [], [], 0
    for phone in (*order, SILENCE):
        length = int(rng.uniform(0.05, 0.16) * RATE)
        pieces.append(_tone(phone, length, size, rng))
        segments.append(Segment(phone, begin, begin + length))
        begin += length
    samples = np.concatenate(pieces) + HISS * rng.standard_normal(begin)
    return name, samples.astype(np.float32), segments


def _tone(phone: str, length: int, size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    time = np.arange(length) / RATE
    ramp = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)  # over 10 ms
    partials = FORMANTS.get(phone, ())
    waves = [np.sin(2 * np.pi * (size * f * time + rng.random())) for f in partials]
    return 0.1 * ramp * sum(waves, np.zeros(length))
