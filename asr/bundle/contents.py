"""What a bundle is: its parts, its files, and what must hold of both when it is saved or loaded.

``config.json``        features, model, decoder defaults, versions, metadata, checks
``model.safetensors``  weights of the model and statistics of the front end
``tokens.txt``         the vocabulary
``lm.arpa.gz``         a language model, if there is one, or ``lm.compact``; ``lm.arpa`` is read too
``lexicon.txt``        the words that may be said, if they are not the language model's
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asr.bundle.streaming import Streaming, chunks_for
from asr.calibration import Calibration
from asr.decoding import DecoderOptions, Priors
from asr.features import FeatureExtractor
from asr.nn.chunks import LONGEST_SECONDS, Chunking
from asr.nn.model import AcousticModel
from asr.tokens import Tokenizer
from asr.types import BundleError

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language

__all__ = [
    "CALIBRATION",
    "CONFIG",
    "FORMAT",
    "FORMAT_VERSION",
    "LANGUAGE",
    "LEXICON",
    "LM_FILES",
    "PRIORS",
    "SECTIONS",
    "STREAMING",
    "TOKENS",
    "WEIGHTS",
    "Bundle",
    "check_finite",
    "check_sizes",
    "checksum_of",
    "parts_of",
]

FORMAT = "peephole-asr bundle"
FORMAT_VERSION = 2  # 2: decoders with options of their own, reduction of time, calibration
KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # of weights
CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokens.txt"
LM_FILES, LEXICON = ("lm.arpa.gz", "lm.arpa", "lm.compact"), "lexicon.txt"
LANGUAGE = "language"  # the key that bundles with a language model or a lexicon have
CALIBRATION = "calibration"  # the key that calibrated bundles have
PRIORS = "priors"  # the key of bundles that know the priors of their tokens
STREAMING = "streaming"  # the key of bundles whose model was trained for streams
SECTIONS = ("features", "model", "decoder", "versions", "metadata", "checksums", "golden")


@dataclass(frozen=True, eq=False)
class Bundle:
    """All that turns audio into text.

    ``metadata`` are JSON values about the training (corpus, error rates, commands), for people.
    ``language`` is what beam search knows beside the sound, unless ``decoder`` weights it by 0.
    ``calibrations`` straighten the confidences of the decoders they are named after. ``half``: the
    model's weights are kept in 16 bits (IEEE half precision), which halves the bundle; all is
    computed in 32. ``streaming`` says what chunks the model was trained with; None for none.
    ``priors`` are for decoders with a ``prior_weight``.
    """

    extractor: FeatureExtractor
    model: AcousticModel
    tokenizer: Tokenizer
    decoder: DecoderOptions
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    language: Language | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    half: bool = False
    streaming: Streaming | None = None
    priors: Priors | None = None

    def chunking(self, latency: str = "medium") -> Chunking:
        """The chunks that streams are read by, for one of :data:`asr.bundle.streaming.LATENCIES`.

        Raises:
            ConfigError: there is no such class.
        """
        chunk, look_ahead = (
            min(length / 1000, LONGEST_SECONDS) for length in chunks_for(self.streaming, latency)
        )
        step = self.seconds_per_frame
        return Chunking.of_seconds(max(chunk, step), look_ahead, step)

    @property
    def language_code(self) -> str:
        """The language that is spoken (BCP-47), as ``language`` of the metadata says, or ""."""
        code = self.metadata.get("language", "")
        return code if isinstance(code, str) else ""

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one row of the log-probabilities to the next."""
        return self.extractor.config.seconds_per_frame * self.model.config.network.reduction

    @property
    def frame_lag(self) -> float:
        """Seconds from the middle of a frame to the centre of the audio that it is made of.

        Windows reach beyond the step to the next, and stacked or joined frames as well; a
        convolution is centred on the first of the frames that it makes one.
        """
        features, network = self.extractor.config, self.model.config.network
        hop = features.hop_length / features.sample_rate
        centre = features.frame_span / features.sample_rate / 2 + (features.stack - 1) / 2 * hop
        step = features.seconds_per_frame * (network.front.reduction if network.front else 1)
        for factor in network.reductions:
            centre += (factor - 1) / 2 * step
            step *= factor
        return centre - step / 2


def parts_of(bundle: Bundle) -> dict[str, nn.Module]:
    """The modules whose tensors a bundle keeps, by the first part of their names."""
    return {"extractor": bundle.extractor, "model": bundle.model}


def check_sizes(bundle: Bundle, where: str) -> None:
    """Raise BundleError unless front end, model and vocabulary fit each other."""
    config = bundle.model.config
    if config.input_size != bundle.extractor.config.size:
        raise BundleError(
            f"the model takes {config.input_size} features a frame, "
            f"the front end gives {bundle.extractor.config.size}",
            where=where,
            remedy="use the features the model was trained with",
        )
    if config.vocab_size != bundle.tokenizer.size:
        raise BundleError(
            f"the model has {config.vocab_size} outputs, {TOKENS} has {bundle.tokenizer.size}",
            where=where,
            remedy="use the vocabulary the model was trained with",
        )
    if bundle.priors is not None and len(bundle.priors.log_priors) != config.vocab_size:
        raise BundleError(
            f"the model has {config.vocab_size} outputs, and there are "
            f"{len(bundle.priors.log_priors)} priors",
            where=where,
            remedy="use the priors of this model",
        )


def check_finite(weights: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """Raise BundleError if a weight is NaN, infinite, or of a kind that no weight is."""
    for name, tensor in weights.items():
        if tensor.dtype not in KINDS:
            raise BundleError(f"{name} is of {tensor.dtype}", where=where, remedy=remedy)
        if not torch.isfinite(tensor).all():
            raise BundleError(
                f"{name} has values that are NaN or infinite", where=where, remedy=remedy
            )


def checksum_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
