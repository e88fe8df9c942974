"""Long audio, recognised segment by segment in the batches of all calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from asr.decoding import Decoder, Stop
from asr.long import decode_piece, join_segments, prepared_window
from asr.segmenter import Segmenter, SegmentOptions
from asr.types import Hypothesis, Segment, Transcript
from server.api.messages import AnswerRoom, check_duration
from server.engine.batching import Batched
from server.engine.models import ServedModel
from server.engine.search_pool import Searches
from server.telemetry.records import CallRecord

__all__ = ["SEGMENTS", "SegmentReader"]

SEGMENTS = SegmentOptions()


class SegmentReader:
    """Recognises a recording as ``asr transcribe`` does, in the memory of one window and the text.

    It has one window at a time in the batches of ``model``, so calls of short audio do not wait for
    the whole of it.
    """

    def __init__(
        self,
        model: ServedModel,
        decoder: Decoder,
        searches: Searches,
        record: CallRecord,
        room: AnswerRoom,
        *,
        words: bool,
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._searches = searches
        self._record = record
        self._words = words
        self._segmenter: Segmenter = model.recognizer.segmenter(SEGMENTS)
        self._segments: list[Segment] = []
        self._room = room
        self._samples = 0

    async def read(self, blocks: AsyncIterator[NDArray[np.float32]]) -> Transcript:
        """What is said in all ``blocks (N,)`` at the model's rate.

        Raises:
            AsrError: what ``blocks`` raises; it is too long for the decoder, or its text for an
                answer.
        """
        async for block in blocks:
            self._samples += len(block)
            seconds = self._samples / self._model.recognizer.sample_rate
            check_duration(self._decoder.options, seconds)
            self._segmenter.push(block)
            await self._recognize()
        self._segmenter.end()
        await self._recognize()
        return join_segments(self._segments, self._model.recognizer.tokenizer)

    async def _recognize(self) -> None:
        """All windows that are ready."""
        recognizer = self._model.recognizer
        while self._segmenter.is_ready:
            prepared = prepared_window(recognizer, self._segmenter)
            log_probs = torch.zeros(0, recognizer.tokenizer.size)
            if prepared is not None:
                batched = await self._model.batcher.submit(prepared)
                self._note(batched)
                log_probs = batched.value
            with self._record.stage("search"):
                segment = await self._searches.run(lambda stop: self._decode(log_probs, stop))  # noqa: B023
            self._segments.append(segment)

    def _decode(self, log_probs: torch.Tensor, stop: Stop) -> Segment:
        """The next segment, with its best hypothesis alone and no more of that than is told."""
        piece = self._segmenter.cut(log_probs)
        segment = decode_piece(self._model.recognizer, piece, self._decoder, stop)
        best = _lean(segment.hypotheses[0])
        self._room.take(best, words=self._words)
        return replace(segment, hypotheses=(best,))

    def _note(self, batched: Batched[torch.Tensor]) -> None:
        self._record.spent("batch", batched.waited)
        self._record.spent("model", batched.computed)
        self._record.batch_size = batched.size


def _lean(hypothesis: Hypothesis) -> Hypothesis:
    """Without the tokens of its words: they are all that takes memory in hours of speech."""
    return replace(hypothesis, tokens=()) if hypothesis.words else hypothesis
