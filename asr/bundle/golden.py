"""A known input and what it gave, so that a bundle notices when this program differs from its own.

An old model on a newer front end still runs, and is silently wrong. So a bundle carries what its
features and its model made of a waveform that is computed, not stored, and loading compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.features import FeatureExtractor
from asr.nn.model import AcousticModel
from asr.types import BundleError

__all__ = ["compute_golden", "find_difference", "golden_waveform"]

SECONDS = 1.0
MAX_FRAMES = 8  # evenly spaced over the utterance
MAX_TOKENS = 32  # evenly spaced over the vocabulary
DECIMALS = 5
# Processors and library builds differ by about 1e-5; any real change of a front end by far more.
ABSOLUTE_TOLERANCE = 1e-3
RELATIVE_TOLERANCE = 1e-4


def golden_waveform(sample_rate: int) -> NDArray[np.float32]:
    """One second that excites every band: a rising tone, syllable-like loudness, and noise.

    The noise keeps every filter well above zero, where a logarithm would magnify rounding. It
    comes from a linear congruential generator, whose integers are the same everywhere.

    Returns:
        float32 ``(N,)`` in [-1, 1].
    """
    count = int(SECONDS * sample_rate)
    time = np.arange(count, dtype=np.float64) / sample_rate
    low, high = 80.0, 0.45 * sample_rate
    tone = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / (2 * SECONDS)))
    loudness = 0.55 - 0.45 * np.cos(2 * np.pi * 4.0 * time)
    return (0.4 * loudness * tone + 0.1 * _noise(count)).astype(np.float32)


def _noise(count: int) -> NDArray[np.float64]:
    """Uniform noise in [-1, 1) by x' = 1664525 x + 1013904223 mod 2^32 (Numerical Recipes)."""
    values = np.empty(count, dtype=np.float64)
    state = 1
    for index in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values[index] = state / 2**31 - 1.0
    return values


def compute_golden(extractor: FeatureExtractor, model: AcousticModel) -> dict[str, Any]:
    """What the front end and the model, both in evaluation mode, make of the golden waveform.

    Returns:
        ``frames`` (their number), ``features`` and ``log_probs`` (lists of rows: some frames by
        features, the same frames by some tokens), rounded.
    """
    samples = torch.from_numpy(golden_waveform(extractor.config.sample_rate))[None]  # (1, N)
    lengths = torch.tensor([samples.shape[1]])
    with torch.inference_mode():
        features, frames = extractor(samples, lengths)  # (1, T, F)
        count = int(frames[0])
        if count == 0:
            raise BundleError(
                f"the front end makes no frame of {SECONDS:g} s of audio",
                remedy="choose shorter frames or less stacking",
            )
        log_probs = model(features, frames)  # (1, T, V)
    rows, outputs = _spread(count, MAX_FRAMES), _spread(log_probs.shape[1], MAX_FRAMES)
    columns = _spread(log_probs.shape[2], MAX_TOKENS)
    return {
        "frames": count,
        "features": _rounded(features[0, rows]),
        "log_probs": _rounded(log_probs[0, outputs][:, columns]),
    }


def find_difference(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    """What differs between two results of :func:`compute_golden`, in words; None if nothing does.

    Raises:
        KeyError, TypeError, ValueError: ``expected`` is not such a result.
    """
    if int(expected["frames"]) != found["frames"]:
        return f"the front end made {expected['frames']} frames, and now makes {found['frames']}"
    for key, part in (("features", "front end"), ("log_probs", "model")):
        then = np.asarray(expected[key], dtype=np.float64)
        now = np.asarray(found[key], dtype=np.float64)
        if then.shape != now.shape:
            return f"the {part} gave values of shape {then.shape}, and now {now.shape}"
        allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(then)
        distance = np.abs(then - now)
        if not (distance <= allowed).all():  # false for NaN too
            return f"the {part} gives other values than it did (off by up to {distance.max():.2g})"
    return None


def _spread(size: int, most: int) -> list[int]:
    """At most ``most`` indices below ``size``, evenly spaced, the first and the last among them."""
    count = min(size, most)
    return [index * (size - 1) // max(count - 1, 1) for index in range(count)]


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(float(x), DECIMALS) for x in row] for row in values]
