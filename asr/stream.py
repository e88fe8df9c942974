"""Log-probabilities of speech that is still going on: a chunk at a time, with a look-ahead.

Audio may come in any pieces. What is computed together depends on how much of it there is in all,
not on the pieces, so that the result is the same to the bit. Several sessions are computed at once,
and none changes another's result.

Where features are normalised by statistics of the utterance, a chunk and its look-ahead are by the
statistics of all frames up to the end of the look-ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from asr.features import FeatureExtractor
from asr.features.stream import DELTA_EDGE, FeatureStream
from asr.nn.chunks import Chunking, States
from asr.nn.model import AcousticModelConfig
from asr.types import ConfigError

__all__ = ["ChunkModel", "Session", "Streamer", "read_whole"]


class ChunkModel(Protocol):
    """What computes chunks, as :class:`asr.nn.model.AcousticModel` does."""

    @property
    def config(self) -> AcousticModelConfig:
        """The model's shape."""
        ...

    def initial_states(self, streams: int) -> list[tuple[Tensor, Tensor]]:
        """Forward states of all recurrent layers at the beginning of so many streams."""
        ...

    def chunk(
        self, features: Tensor, lengths: Tensor, window: Tensor, frames: int, states: States
    ) -> tuple[Tensor, States]:
        """Log-probabilities of the next ``frames`` frames of streams, and the states after."""
        ...


class Session:
    """One utterance that a :class:`Streamer` reads: its audio so far, and where it has got to."""

    def __init__(self, extractor: FeatureExtractor, states: list[tuple[Tensor, Tensor]]) -> None:
        self.features = FeatureStream(extractor)
        self.frames = torch.zeros(0, extractor.config.frame_size, device=extractor.mean.device)
        self.start = 0  # number of the first frame in `frames`, which are before stacking
        self.chunks = 0  # computed so far
        self.states = states
        self.ended = False

    def push(self, samples: Tensor) -> None:
        """Take in ``samples (N,)`` at the model's rate.

        Raises:
            ConfigError: the session has ended.
        """
        if self.ended:
            raise ConfigError("audio after the end of a stream", remedy="begin another stream")
        self.features.push(samples)

    def end(self) -> None:
        """No more audio will come."""
        self.ended = True
        self.features.end()

    @property
    def known(self) -> int:
        """Frames of the utterance before stacking, as far as its audio tells."""
        return self.features.available

    def read(self, first: int, end: int) -> Tensor:
        """Frames ``first`` to ``end`` ``(T, F0)``, normalised by all up to ``end``.

        Those before ``first`` are let go.
        """
        fresh = self.features.take(end - self.start - len(self.frames))
        self.frames = torch.cat([self.frames, fresh])[first - self.start :]
        self.start = first
        return self.features.normalised(self.frames[: end - first])


class Streamer:
    """Reads sessions by chunks with one model.

    Args:
        extractor: the model's front end, in evaluation mode.
        model: what computes a chunk: the model in evaluation mode, or another backend's.
        chunking: how far ahead it reads.

    Raises:
        ConfigError: the model cannot be run by chunks.
    """

    def __init__(self, extractor: FeatureExtractor, model: ChunkModel, chunking: Chunking) -> None:
        model.initial_states(0)  # or it cannot be run by chunks
        self.extractor = extractor
        self.model = model
        self.chunking = chunking
        front = model.config.network.front
        self._stride = front.reduction if front else 1
        self._halo = front.halo if front else 0
        self._joined = math.prod(model.config.network.reductions)
        self._edge = -(-self._halo // self._stride)  # frames behind the front, for its filters
        self._longest = (self._edge + self._end(0)) * self._stride + self._halo  # frames of a block

    def begin(self) -> Session:
        """Return a session without audio."""
        return Session(self.extractor, self.model.initial_states(1))

    def restart(self, session: Session) -> None:
        """Let the next chunk begin with the states of a stream's beginning.

        Statistics of the audio are kept: they are ``session.features.statistics``.
        """
        session.states = self.model.initial_states(1)

    @property
    def frame_samples(self) -> int:
        """Samples from one row of the log-probabilities to the next."""
        config = self.extractor.config
        return config.hop_length * config.subsample * self._stride * self._joined

    @property
    def latency(self) -> float:
        """Seconds from the beginning of a chunk to the end of the audio that it waits for."""
        config = self.extractor.config
        frames = self._unstacked(self._end(0) * self._stride + self._halo)
        frames += DELTA_EDGE * config.deltas
        return ((frames - 1) * config.hop_length + config.frame_span) / config.sample_rate

    def is_ready(self, session: Session) -> bool:
        """Whether there is audio enough for the next chunk, or the utterance's last ones wait."""
        if session.ended:
            return self._frames_left(session) > 0
        end = self._end(session.chunks) * self._stride + self._halo
        return session.known >= self._unstacked(end)

    @torch.inference_mode()
    def step(self, sessions: Sequence[Session]) -> list[Tensor]:
        """Compute the next chunk of ``sessions``, all of them ready.

        Returns:
            log-probabilities ``(T, V)`` of each, on the CPU: a chunk of them, or what the utterance
            still has.
        """
        windows = [self._window(session.chunks) for session in sessions]
        blocks = [self._block(session) for session in sessions]  # each (T, F)
        device = blocks[0].device
        lengths = torch.tensor([len(block) for block in blocks], device=device)
        counts = [min(self.chunking.frames, self._frames_left(session)) for session in sessions]
        states = [
            (torch.cat([h for h, _ in layer], dim=1), torch.cat([c for _, c in layer], dim=1))
            for layer in zip(*(session.states for session in sessions), strict=True)
        ]
        # How a row of a product rounds depends on how many rows there are: so, always as many.
        features = torch.stack(
            [nn.functional.pad(block, (0, 0, 0, self._longest - len(block))) for block in blocks]
        )
        log_probs, ends = self.model.chunk(
            features,
            lengths,
            torch.tensor(windows, device=device),
            self.chunking.frames,
            states,
        )
        for number, session in enumerate(sessions):
            session.chunks += 1
            one = slice(number, number + 1)
            session.states = [(h[:, one].clone(), c[:, one].clone()) for h, c in ends]
        return [row[:count].cpu() for row, count in zip(log_probs, counts, strict=True)]

    def _block(self, session: Session) -> Tensor:
        """Features ``(T, F)`` of the next chunk and its look-ahead, and of what filters read."""
        begin = session.chunks * self.chunking.frames * self._joined  # behind the front
        first = (begin - self._window(session.chunks)[0]) * self._stride
        last = self._end(session.chunks) * self._stride + self._halo
        if session.ended:
            last = min(last, self.extractor.stacked(session.known))
        frames = session.read(self._first_frame(first), self._unstacked(last))
        return self.extractor.stack(frames[None], torch.tensor([len(frames)]))[0][0]

    def _window(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and its look-ahead ends, in frames behind the front of a block."""
        begin = chunk * self.chunking.frames * self._joined
        before = min(begin, self._edge)
        return before, before + self._end(chunk) - begin

    def _end(self, chunk: int) -> int:
        """Where a chunk's look-ahead ends, in frames behind the front."""
        return ((chunk + 1) * self.chunking.frames + self.chunking.look_ahead) * self._joined

    def _frames_left(self, session: Session) -> int:
        """Frames of log-probabilities not computed yet, of those that the audio has by now."""
        frames = self.extractor.stacked(session.known)
        for factor in (self._stride, self._joined):
            frames = -(-frames // factor)
        return frames - session.chunks * self.chunking.frames

    def _first_frame(self, stacked: int) -> int:
        """Number of the first frame of those that a stacked one joins."""
        return stacked * self.extractor.config.subsample

    def _unstacked(self, stacked: int) -> int:
        """Frames that so many stacked ones join."""
        config = self.extractor.config
        return max(0, (stacked - 1) * config.subsample + config.stack)


def read_whole(streamer: Streamer, utterances: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities ``(T, V)`` of streams whose audio ``(N,)`` is all at hand, on the CPU.

    Each has audio for one frame at least.
    """
    sessions = [streamer.begin() for _ in utterances]
    for session, samples in zip(sessions, utterances, strict=True):
        session.push(samples)
        session.end()
    found: dict[Session, list[Tensor]] = {session: [] for session in sessions}
    while ready := [session for session in sessions if streamer.is_ready(session)]:
        for session, log_probs in zip(ready, streamer.step(ready), strict=True):
            found[session].append(log_probs)
    return [torch.cat(found[session]) for session in sessions]
