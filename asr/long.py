"""Recordings of any length through one recogniser, in the memory of one window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio import check_samples
from asr.decoding import Decoder, Stop
from asr.gate import NO_WORDS
from asr.recognizer import PreparedWaveform, Recognizer
from asr.segmenter import Piece, Segmenter, SegmentOptions
from asr.tokens import Tokenizer
from asr.types import SPACE, AudioError, Hypothesis, Segment, TimedToken, Transcript

__all__ = [
    "decode_piece",
    "join_segments",
    "prepared_window",
    "segments_of",
    "transcribe_blocks",
]

# The worst that was proved of a segment is what is proved of the whole.
SEARCHES = (None, "cut", "sectioned", "exact")


def transcribe_blocks(
    recognizer: Recognizer,
    blocks: Iterable[NDArray[np.float32]],
    decoder: Decoder,
    options: SegmentOptions,
) -> Transcript:
    """The transcript of a recording that comes in ``blocks (N,)`` at the model's rate.

    Raises:
        AsrError: what ``blocks`` raises; there are no samples in them; and see
            :meth:`asr.recognizer.Recognizer.recognize`.
    """
    segments = list(segments_of(recognizer, blocks, decoder, options))
    if not segments:
        raise AudioError("the audio has no samples", remedy="give a recording of some length")
    return join_segments(segments, recognizer.tokenizer)


def segments_of(
    recognizer: Recognizer,
    blocks: Iterable[NDArray[np.float32]],
    decoder: Decoder,
    options: SegmentOptions,
) -> Iterator[Segment]:
    """The segments of a recording, one after the other without gaps.

    Times count from the beginning of the recording. Where torch has more than one thread, a segment
    is searched by another thread while the next one is computed.

    Raises:
        AsrError: see :func:`transcribe_blocks`.
    """
    pieces = _pieces(recognizer, blocks, options)
    if torch.get_num_threads() < 2:
        for piece in pieces:
            yield decode_piece(recognizer, piece, decoder)
        return
    waiting: deque[Future[Segment]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="search") as pool:
        for piece in pieces:
            waiting.append(pool.submit(decode_piece, recognizer, piece, decoder))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        for last in waiting:
            yield last.result()


def _pieces(
    recognizer: Recognizer, blocks: Iterable[NDArray[np.float32]], options: SegmentOptions
) -> Iterator[Piece]:
    """What is cut off a recording, with its log-probabilities."""
    segmenter = recognizer.segmenter(options)
    count = 0
    for block in blocks:
        check_samples(block, count)
        count += len(block)
        segmenter.push(np.array(block, dtype=np.float32))  # the caller may use it again
        while segmenter.is_ready:
            yield _next_piece(recognizer, segmenter)
    segmenter.end()
    while segmenter.is_ready:
        yield _next_piece(recognizer, segmenter)


def prepared_window(recognizer: Recognizer, segmenter: Segmenter) -> PreparedWaveform | None:
    """The window of a segmenter that is ready, to be computed next; None: there is nothing in it.

    What is computed, or no frames, is given to :meth:`asr.segmenter.Segmenter.cut`, and the piece
    to :func:`decode_piece`.
    """
    window, rate = segmenter.window(), recognizer.sample_rate
    is_short = len(window) < recognizer.min_samples  # a rest that is no frame
    if is_short or recognizer.gate.is_silent(window, rate):
        return None
    is_part = not segmenter.is_whole
    return PreparedWaveform(window, rate, len(window) / rate, may_change=is_part)


def decode_piece(
    recognizer: Recognizer, piece: Piece, decoder: Decoder, stop: Stop | None = None
) -> Segment:
    """The segment that ``piece`` is; its times count from the beginning of the recording.

    Raises:
        DecodingError, StoppedError: see :meth:`asr.decoding.Decoder.decode`.
    """
    frames, gate = len(piece.log_probs), recognizer.gate
    hypotheses: Sequence[Hypothesis] = (NO_WORDS,)
    if frames and not gate.is_silent(piece.samples, recognizer.sample_rate):
        [found] = decoder.decode(piece.log_probs[None], torch.tensor([frames]), stop)
        hypotheses = gate.keep(found, piece.end - piece.start)
    return Segment(piece.start, piece.end, tuple(each.shifted(piece.start) for each in hypotheses))


def join_segments(segments: Sequence[Segment], tokenizer: Tokenizer) -> Transcript:
    """The transcript that segments, one or more, are together.

    Of several, its one hypothesis is the best ones', joined. Scores are added; the confidence is
    the mean of theirs, by words.
    """
    if len(segments) == 1:
        return Transcript(segments[0].hypotheses, segments[0].end)
    best = [segment.hypotheses[0] for segment in segments]
    said = [hypothesis for hypothesis in best if hypothesis.tokens or hypothesis.text]
    spaced = tokenizer.kind != "characters" or tokenizer.word_separator is not None
    weights = [len(hypothesis.timed_words()) for hypothesis in best]
    joined = Hypothesis(
        text=(" " if spaced else "").join(hypothesis.text for hypothesis in said),
        score=sum(hypothesis.score for hypothesis in best),
        confidence=float(
            np.average(
                [each.confidence for each in best], weights=weights if any(weights) else None
            )
        ),
        tokens=_joined_tokens(said, tokenizer),
        words=tuple(word for hypothesis in said for word in hypothesis.words),
        search=min(filter(None, (each.search for each in best)), key=SEARCHES.index, default=None),
        lm_score=sum(hypothesis.lm_score for hypothesis in best),
        bonus_score=sum(hypothesis.bonus_score for hypothesis in best),
    )
    return Transcript((joined,), segments[-1].end, tuple(segments))


def _next_piece(recognizer: Recognizer, segmenter: Segmenter) -> Piece:
    prepared = prepared_window(recognizer, segmenter)
    log_probs = torch.zeros(0, recognizer.tokenizer.size)
    if prepared is not None:
        log_probs = recognizer.log_probs([prepared])[0][0]
    return segmenter.cut(log_probs)


def _joined_tokens(said: Sequence[Hypothesis], tokenizer: Tokenizer) -> tuple[TimedToken, ...]:
    """Their tokens, with a space between those of characters: together they spell the text."""
    is_spelled = tokenizer.kind == "characters" and tokenizer.word_separator is not None
    tokens: list[TimedToken] = []
    for hypothesis in said:
        if tokens and hypothesis.tokens and is_spelled:
            tokens.append(TimedToken(SPACE, tokens[-1].end, hypothesis.tokens[0].start, 1.0))
        tokens += hypothesis.tokens
    return tuple(tokens)
