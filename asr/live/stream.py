"""One client's audio, its segments and what they say."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import check_samples
from asr.decoding import Decoder, Partial, Stop
from asr.gate import Gate
from asr.live.endpoint import Endpointer, Reason
from asr.live.events import Event, Final, Interim, LiveOptions
from asr.live.levels import FrameLevels
from asr.stream import Session, Streamer
from asr.tokens import BLANK_ID, Tokenizer
from asr.types import ConfigError

__all__ = ["LiveStream", "step"]

MEMORY_SECONDS = 60.0  # of speech that statistics remember: a voice or a room may change
MUTE_SECONDS = 0.5  # of silence after which nothing is said any more
IMPOSSIBLE = -100.0  # the log-probability of what is not said


class LiveStream:
    """One client's audio, its segments and what they say. It belongs to one thread at a time.

    Args:
        streamer: of the model; many streams may share it.
        decoder: what turns log-probabilities into text, of the same model.
        tokenizer: the model's.
        options: what the client asks for.
        gate: which audio holds no words. Nothing is said in silence below its level, and final
            results less sure than it wants are empty.
        stop: what another thread may end a search with.
    """

    def __init__(
        self,
        streamer: Streamer,
        decoder: Decoder,
        tokenizer: Tokenizer,
        options: LiveOptions | None = None,
        gate: Gate | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.options = options or LiveOptions()
        self._streamer = streamer
        self._decoder = decoder
        self._gate = gate or Gate()
        self._stop = stop
        self._rate = streamer.extractor.config.sample_rate
        seconds_per_frame = streamer.frame_samples / self._rate
        separator = tokenizer.word_separator
        silences = () if separator is None else (separator,)
        self._endpointer = Endpointer(self.options.endpoint, seconds_per_frame, silences)
        self._muting = _Muting(self._gate.min_level, seconds_per_frame)
        self._parts = deque([_Part(streamer, 0)])
        self._is_finished = False
        statistics = self.session.features.statistics
        self._learned = statistics and statistics.copy()  # of what said something
        self._memory = MEMORY_SECONDS * 1000 / streamer.extractor.config.frame_shift_ms  # frames
        self._begin_segment(0)

    # What a client does

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in a copy of ``samples (N,)`` at the model's rate, any number of them.

        Raises:
            ConfigError: the stream is finished.
            AudioError: they are not floats of one channel, or a sample is not finite or absurdly
                loud; the message has its number from the stream's beginning. None of them is taken
                then.
        """
        self._check_open("audio")
        check_samples(samples, self._parts[-1].end_sample if self._parts else 0)
        if not self.has_ended:
            self._parts[-1].push(np.array(samples, dtype=np.float32))

    def force_end(self) -> list[Event]:
        """End the segment with the audio that has come; what comes after it begins the next one.

        Its final result is the answer even if it says nothing: given here if no chunk is left to
        compute, else by :meth:`accept`.

        Raises:
            ConfigError: the stream is finished.
        """
        self._check_open("an end of a segment")
        if self.has_ended:
            return []
        last = self._parts[-1]
        last.end("forced")
        self._parts.append(_Part(self._streamer, last.end_sample))
        return self._settle()

    def finish(self) -> list[Event]:
        """No more audio will come. What is left to say is given here or by :meth:`accept`.

        Raises:
            ConfigError: the stream is finished already.
        """
        self._check_open("an end")
        self._is_finished = True
        if self.has_ended:
            return []
        self._parts[-1].end("finished")
        return self._settle()

    # What the server does

    @property
    def has_ended(self) -> bool:
        """Whether all is said: of the stream, or of its single utterance."""
        return not self._parts

    @property
    def is_ready(self) -> bool:
        """Whether the next chunk of :attr:`session` can be computed."""
        return bool(self._parts) and self._streamer.is_ready(self.session)

    @property
    def session(self) -> Session:
        """What the streamer is to compute the next chunk of, while :attr:`is_ready`."""
        return self._parts[0].session

    def accept(self, log_probs: Tensor) -> list[Event]:
        """Take in the next chunk of :attr:`session`, ``(T, V)``, as the streamer computed it.

        Raises:
            DecodingError: a value is broken.
            StoppedError: another thread asked for it by ``stop``.
        """
        part = self._parts[0]
        levels = part.levels.take(len(log_probs))
        rows = self._muting(log_probs, levels)
        events: list[Event] = []
        while (endpoint := self._endpointer.push(rows.numpy(), levels)) is not None:
            part.frames += endpoint.frame
            self._decoding.push(rows[: endpoint.frame])
            rows, levels = rows[endpoint.frame :], levels[endpoint.frame :]
            events += self._close(endpoint.reason, part.place)
            if self.has_ended:
                return events
            self._streamer.restart(part.session)
        part.frames += len(rows)
        events += self._interim(self._decoding.push(rows, words=self.options.interim_words))
        return events + self._settle()

    def _settle(self) -> list[Event]:
        """Close the parts that have ended and have no chunk left to compute."""
        events: list[Event] = []
        while self._parts and not self.is_ready:
            part = self._parts[0]
            if part.reason is None:
                break
            events += self._close(part.reason, part.end_sample)
            if self._parts:
                self._parts.popleft()
            if self._parts:
                self._parts[0].session.features.statistics = part.session.features.statistics
        return events

    # Segments

    def _begin_segment(self, start: int) -> None:
        self._decoding = self._decoder.begin(self._stop)
        self._start = start  # sample of the stream
        self._said: tuple[str, str] = ("", "")  # by the last interim result

    def _interim(self, partial: Partial) -> list[Event]:
        """What is to be told of ``partial``: nothing, if that was told before.

        Where a doubtful result is to be left out, nothing is settled before it is whole.
        """
        if self._gate.min_confidence > 0:
            partial = replace(partial, stable="", stable_words=0)
        said = (partial.text, partial.stable)
        if said == self._said:
            return []
        self._said = said
        start = self._start / self._rate
        return [
            Interim(
                partial.text,
                partial.stable,
                partial.stability,
                tuple(word.shifted(start) for word in partial.words),
                partial.stable_words,
                start,
                self._parts[0].place / self._rate,
            )
        ]

    def _close(self, reason: Reason, end: int) -> list[Event]:
        """Finish the segment at sample ``end``, and begin the next one there."""
        start = self._start / self._rate
        hypotheses = self._gate.keep(self._decoding.finish(), (end - self._start) / self._rate)
        final = Final(
            tuple(hypothesis.shifted(start) for hypothesis in hypotheses),
            start,
            end / self._rate,
            reason,
        )
        self._learn(self._parts[0].session, was_speech=bool(final.text))
        is_told = bool(final.text) or self._said != ("", "") or reason == "forced"
        if is_told and self.options.single_utterance:
            self._parts.clear()
        self._begin_segment(end)
        self._endpointer.restart()
        return [final] if is_told else []

    def _learn(self, session: Session, was_speech: bool) -> None:
        """Keep the statistics of audio that said something; forget what is long ago."""
        statistics = session.features.statistics
        if statistics is None:
            return
        if was_speech:
            statistics.forget(self._memory)
            self._learned = statistics.copy()
        elif self._learned is not None:
            session.features.statistics = self._learned.copy()

    def _check_open(self, what: str) -> None:
        if self._is_finished:
            raise ConfigError(f"{what} after the end of a stream", remedy="begin another stream")


class _Part:
    """Audio that is computed in one go: up to where the client forces an end, or to the last."""

    def __init__(self, streamer: Streamer, start: int) -> None:
        self.session = streamer.begin()
        self.levels = FrameLevels(streamer.frame_samples)
        self.frames = 0  # of log-probabilities that were read
        self.reason: Reason | None = None  # why it ended
        self._step = streamer.frame_samples
        self._start = start  # sample of the stream
        self.end_sample = start

    @property
    def place(self) -> int:
        """The sample of the stream up to which its frames were read."""
        return min(self._start + self.frames * self._step, self.end_sample)

    def push(self, samples: NDArray[np.float32]) -> None:
        self.session.push(torch.from_numpy(samples))
        self.levels.push(samples)
        self.end_sample += len(samples)

    def end(self, reason: Reason) -> None:
        self.reason = reason
        self.session.end()


class _Muting:
    """Lets frames in silence say nothing, as far as the level tells silence for sure.

    A frame is one of them if it and half a second before it are silent: what ended just before may
    still be said.
    """

    def __init__(self, min_level: float, seconds_per_frame: float) -> None:
        self._min_level = min_level
        self._wait = math.ceil(MUTE_SECONDS / seconds_per_frame)
        self._silent = self._wait  # frames up to now: nothing was said before the first

    def __call__(self, log_probs: Tensor, levels: NDArray[np.float64]) -> Tensor:
        """``log_probs (T, V)``, with nothing but blanks where ``levels (T,)`` say silence."""
        muted = []
        for frame, level in enumerate(levels.tolist()):
            is_silent = level < self._min_level or level == -math.inf
            self._silent = self._silent + 1 if is_silent else 0
            if self._silent > self._wait:
                muted.append(frame)
        rows = log_probs.float()
        if muted:
            rows = rows.clone()  # what a network gives under inference cannot be changed
            rows[muted] = IMPOSSIBLE
            rows[muted, BLANK_ID] = 0.0
        return rows


def step(streamer: Streamer, streams: Sequence[LiveStream]) -> list[list[Event]]:
    """Compute the next chunk of ``streams``, all of them ready, and return the events of each."""
    computed = streamer.step([stream.session for stream in streams])
    return [stream.accept(log_probs) for stream, log_probs in zip(streams, computed, strict=True)]
