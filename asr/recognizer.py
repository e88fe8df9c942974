"""Waveforms in, transcripts out: a bundle, a backend and a decoder on one device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.audio import AudioLimits, check_samples, resample
from asr.backends import AUTO, choose_backend, make_backend, make_chunk_backend
from asr.bundle import Bundle, load_bundle
from asr.calibration import CalibratedDecoder
from asr.decoding import Decoder, DecoderOptions, Phrase, WfstOptions, make_decoder
from asr.device import select_device
from asr.gate import NO_WORDS, Gate
from asr.nn.chunks import Chunking
from asr.segmenter import Segmenter, SegmentOptions
from asr.stream import ChunkModel, Streamer, read_whole
from asr.tokens import Tokenizer
from asr.types import (
    AudioError,
    ConfigError,
    DecodingError,
    DeviceMemoryError,
    TokenError,
    Transcript,
    Waveform,
)

__all__ = ["PreparedWaveform", "Recognizer"]

KEPT = 8  # decoders; each keeps what its language model said to as many searches as ran at a time


@dataclass(frozen=True, eq=False)
class PreparedWaveform:
    """Audio that one recogniser has checked and brought to its rate, for that recogniser alone.

    ``samples`` is float32 ``(N,)``, ``sample_rate`` the model's in hertz; ``duration`` is in
    seconds, as the audio came. ``speaker`` is who speaks, if that is known. ``is_silent``: the
    recogniser's gate takes it for silence, and its transcript is empty. ``may_change``: it is a
    part of a long recording, in which voices may follow each other.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    duration: float
    speaker: str | None = None
    is_silent: bool = False
    may_change: bool = False


class Recognizer:
    """Recognises speech. One utterance gives the same transcript alone and in any batch.

    ``limits`` are what callers should decode audio with before they hand it over. ``backend`` is
    what computes the log-probabilities: ``"torch"``, ``"int8"``, ``"onnx"`` or ``"onnx-int8"``.
    ``gate`` says which audio holds no words. With ``chunking`` each utterance is read as a stream
    of it would be, by chunks and normalised by what came before.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        *,
        backend: str = AUTO,
        limits: AudioLimits | None = None,
        gate: Gate | None = None,
        chunking: Chunking | None = None,
    ) -> None:
        """Ready ``bundle`` on ``device``; ``backend`` as in :func:`asr.backends.choose_backend`.

        Raises:
            ConfigError: there is no such device here, or the backend cannot run the model on it, or
                not by chunks.
            ModelError: the backend does not compute what torch does.
        """
        self.device = select_device(device)
        self.bundle = bundle
        self.limits = limits or AudioLimits()
        self.gate = gate or Gate()
        self._extractor = bundle.extractor.to(self.device).eval()
        model = bundle.model.to(self.device).eval()
        by_chunks = chunking is not None
        self._asked = backend
        self.backend = choose_backend(backend, model.config, self.device, chunks=by_chunks)
        self._model = None if by_chunks else make_backend(self.backend, model)
        self._streamer = None if chunking is None else self.streamer(chunking)
        self.min_samples = self._shortest()  # less makes no frame
        self._kept = lru_cache(KEPT)(partial(_uncalibrated, bundle))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str = "cpu",
        *,
        backend: str = AUTO,
        limits: AudioLimits | None = None,
        gate: Gate | None = None,
    ) -> Recognizer:
        """The recogniser of the bundle in the folder ``path``.

        Raises:
            BundleError: see :func:`asr.bundle.load_bundle`.
            ConfigError, ModelError: see :meth:`__init__`.
        """
        return cls(load_bundle(path, device), device, backend=backend, limits=limits, gate=gate)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.name

    @property
    def tokenizer(self) -> Tokenizer:
        return self.bundle.tokenizer

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in hertz; other rates are resampled to it."""
        return self._extractor.config.sample_rate

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one row of the log-probabilities to the next."""
        return self.bundle.seconds_per_frame

    @property
    def frame_lag(self) -> float:
        """Seconds from the middle of a frame to the centre of the audio that it is made of."""
        return self.bundle.frame_lag

    def segmenter(self, options: SegmentOptions) -> Segmenter:
        """What cuts a long recording at the model's rate into segments."""
        separator = self.tokenizer.word_separator
        frame_samples = round(self.seconds_per_frame * self.sample_rate)
        silences = () if separator is None else (separator,)
        return Segmenter(options, self.sample_rate, frame_samples, silences)

    def decoder(
        self,
        options: DecoderOptions | None = None,
        phrases: Sequence[Phrase] = (),
        *,
        calibrated: bool = True,
    ) -> Decoder:
        """The decoder of ``options``, or of the bundle's, for this model's tokens and frames.

        It is made once for many utterances, and that of some options without ``phrases`` is kept
        for the next who asks. Beam search uses the bundle's language model and lexicon, and expects
        ``phrases``; if the model does not have their words as given, all are tried in capitals,
        then in small letters. Confidences are calibrated where the bundle has a calibration for
        that decoder, unless ``calibrated`` is false.

        Raises:
            ConfigError, DecodingError, GraphError: see :func:`asr.decoding.make_decoder`.
        """
        options = options or self.bundle.decoder
        # What reads a graph reads it as it is now.
        is_kept = not phrases and not isinstance(options, WfstOptions)
        decoder = self._kept(options) if is_kept else _uncalibrated(self.bundle, options, phrases)
        calibration = self.bundle.calibrations.get(options.name)
        if calibration is None or not calibrated:
            return decoder
        return CalibratedDecoder(decoder, calibration)

    @property
    def can_stream(self) -> bool:
        """Whether :meth:`streamer` can be had of this model."""
        try:
            self.streamer(Chunking(1, 0))
        except ConfigError:
            return False
        return True

    def streamer(self, chunking: Chunking) -> Streamer:
        """What reads speech that is still going on, by ``chunking``.

        Raises:
            ConfigError: the model cannot be run by chunks.
            ModelError: the backend does not compute what torch does.
        """
        return Streamer(self._extractor, self._chunk_model, chunking)

    @cached_property
    def _chunk_model(self) -> ChunkModel:
        model = self.bundle.model
        name = choose_backend(self._asked, model.config, self.device, chunks=True)
        return make_chunk_backend(name, model)

    def prepare(self, waveform: Waveform, speaker: str | None = None) -> PreparedWaveform:
        """``waveform`` at the model's rate, known to be usable.

        ``speaker`` matters where the front end has statistics by speaker.

        Raises:
            AudioError: not one row of finite floats of any loudness that speech has, or too short
                for one frame.
        """
        samples = waveform.samples
        check_samples(samples)
        if waveform.sample_rate < 1:
            raise AudioError(
                f"the sample rate is {waveform.sample_rate} Hz", remedy="give the audio's own"
            )
        duration, rate = waveform.duration, waveform.sample_rate
        if waveform.sample_rate != self.sample_rate and len(samples):
            waveform = resample(waveform, self.sample_rate)
        if len(waveform.samples) < self.min_samples:
            raise AudioError(
                f"audio of {len(waveform.samples)} samples is too short to recognise",
                remedy=f"give at least {self.min_samples / self.sample_rate:.3f} s, "
                f"{self.min_samples} at {self.sample_rate} Hz",
            )
        is_silent = self.gate.is_silent(samples, rate)
        return PreparedWaveform(waveform.samples, self.sample_rate, duration, speaker, is_silent)

    def log_probs(self, waveforms: Sequence[Waveform | PreparedWaveform]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of tokens by frame.

        Returns:
            float32 ``(B, T, V)``, natural logarithm, and int64 lengths ``(B,)``, both on the CPU.

        Raises:
            AudioError: see :meth:`prepare`, which is left out for what it gave.
            DeviceMemoryError: the device has not enough memory for the batch.
        """
        if not waveforms:
            return torch.zeros(0, 0, self.tokenizer.size), torch.zeros(0, dtype=torch.int64)
        prepared = [self._prepared(waveform) for waveform in waveforms]
        samples, lengths = _pad([waveform.samples for waveform in prepared])
        speakers = [waveform.speaker for waveform in prepared]
        try:
            if self._streamer is not None:
                return _join(read_whole(self._streamer, _cut(samples, lengths)))
            assert self._model is not None
            with torch.inference_mode():
                features, frames = self._extractor(
                    samples.to(self.device),
                    lengths.to(self.device),
                    speakers,
                    [waveform.may_change for waveform in prepared],
                )
                log_probs = self._model(features, frames)
                return log_probs.cpu(), self.bundle.model.num_frames(frames).cpu()
        except torch.OutOfMemoryError:
            raise DeviceMemoryError(
                f"{len(waveforms)} utterances of up to {samples.shape[1] / self.sample_rate:.0f} s "
                f"do not fit into the memory of {self.device}",
                remedy="make the batch smaller or the audio shorter, or choose cpu",
            ) from None

    def recognize(
        self,
        waveforms: Sequence[Waveform | PreparedWaveform],
        decoder: Decoder | None = None,
    ) -> list[Transcript]:
        """Transcripts, in the order of ``waveforms``; ``decoder`` None: the bundle's default.

        What the gate takes for silence is not computed, and its transcript is empty.

        Raises:
            AudioError, ConfigError, DeviceMemoryError: see :meth:`log_probs`.
            DecodingError: see :meth:`asr.decoding.Decoder.decode`.
        """
        decoder = decoder or self.decoder()
        prepared = [self._prepared(waveform) for waveform in waveforms]
        heard = [waveform for waveform in prepared if not waveform.is_silent]
        decoded = iter(decoder.decode(*self.log_probs(heard)) if heard else [])
        return [
            Transcript(
                (NO_WORDS,)
                if waveform.is_silent
                else self.gate.keep(next(decoded), waveform.duration),
                waveform.duration,
            )
            for waveform in prepared
        ]

    def _prepared(self, waveform: Waveform | PreparedWaveform) -> PreparedWaveform:
        return waveform if isinstance(waveform, PreparedWaveform) else self.prepare(waveform)

    def _shortest(self) -> int:
        """The least number of samples that make a frame, by bisection (more never make fewer)."""
        low, high = 0, 1
        while self._extractor.num_frames(high) < 1:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if self._extractor.num_frames(middle) < 1:
                low = middle
            else:
                high = middle
        return high


def _cut(batch: Tensor, lengths: Tensor) -> list[Tensor]:
    return [row[:length] for row, length in zip(batch, lengths.tolist(), strict=True)]


def _join(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def _pad(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Rows of any length as ``(B, N)``, zeros behind each, and their lengths ``(B,)``."""
    lengths = torch.tensor([len(row) for row in rows])
    batch = torch.zeros(len(rows), int(lengths.max()))
    for index, row in enumerate(rows):
        batch.numpy()[index, : len(row)] = row
    return batch, lengths


def _uncalibrated(
    bundle: Bundle, options: DecoderOptions, phrases: Sequence[Phrase] = ()
) -> Decoder:
    """See :meth:`Recognizer.decoder`."""
    make = partial(
        make_decoder,
        options,
        bundle.tokenizer,
        bundle.seconds_per_frame,
        bundle.language,
        priors=bundle.priors,
    )
    try:
        return make(phrases)
    except (DecodingError, TokenError):
        for fold in (str.upper, str.lower):
            folded = [replace(phrase, text=fold(phrase.text)) for phrase in phrases]
            if folded != [*phrases]:
                with suppress(DecodingError, TokenError):
                    return make(folded)
        raise
