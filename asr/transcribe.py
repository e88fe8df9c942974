"""Many files through one recogniser: batches of like length, results in the order of the files.

On the CPU each core has a batch of its own. Its threads need not wait for each other, as they do
when they share the products of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from asr.audio import Recording
from asr.decoding import Decoder
from asr.files.read import is_pipe
from asr.lanes import in_lanes
from asr.long import transcribe_blocks
from asr.options import BATCH_SECONDS
from asr.recognizer import PreparedWaveform, Recognizer
from asr.segmenter import SegmentOptions
from asr.types import AsrError, ConfigError, Transcript, Waveform

__all__ = [
    "Outcome",
    "even_batches",
    "in_order",
    "plan_batches",
    "transcribe_files",
    "transcribe_utterances",
]

Outcome = Transcript | AsrError
HALVINGS = 12  # of the seconds of a batch, where batches are made to come out even


def plan_batches(durations: Sequence[float], batch_seconds: float) -> list[list[int]]:
    """Indices of ``durations`` in batches of like length.

    A batch, counted with its padding, holds at most ``batch_seconds``, or one utterance.

    Raises:
        ConfigError: ``batch_seconds`` is not above 0.
    """
    if not batch_seconds > 0:
        raise ConfigError(f"batch seconds are {batch_seconds:g}", remedy="give a number above 0")
    batches: list[list[int]] = []
    for index in sorted(range(len(durations)), key=lambda i: (durations[i], i)):
        # Shortest first, so this utterance is the longest of its batch and sets the padding.
        if batches and durations[index] * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def even_batches(durations: Sequence[float], batch_seconds: float, lanes: int) -> list[list[int]]:
    """Batches as :func:`plan_batches` has them, but so small that all lanes end with their last.

    They are the same number for each lane, if there are utterances enough.
    """
    batches = plan_batches(durations, batch_seconds)
    most = -(-len(batches) // lanes) * lanes
    low, high = 0.0, min(batch_seconds, sum(durations) + max(durations, default=0.0))
    for _ in range(HALVINGS if len(batches) < most else 0):
        middle = (low + high) / 2
        smaller = plan_batches(durations, middle)
        if len(smaller) <= most:
            high, batches = middle, smaller
        else:
            low = middle
    return batches


def transcribe_files(
    recognizer: Recognizer,
    files: Sequence[str],
    decoder: Decoder | None = None,
    *,
    batch_seconds: float = BATCH_SECONDS,
    segments: SegmentOptions | None = None,
    on_done: Callable[[int], None] = lambda count: None,
    lanes: int | None = None,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield each file's index with its transcript, or with the error that kept it from one.

    The order is that of the batches; :func:`in_order` gives that of the files. Only some batches of
    audio are in memory (see :func:`asr.lanes.in_lanes`); what is longer than ``segments`` allow is
    read and recognised segment by segment. ``on_done`` is told how many files each batch finished.
    ``lanes`` are the batches recognised at once; None: as many as torch has threads, on a CPU, and
    else one.
    """
    segments, decoder = segments or SegmentOptions(), decoder or recognizer.decoder()
    durations: dict[int, float] = {}
    pipes: dict[int, Recording] = {}  # which are read once
    for index, file in enumerate(files):
        try:
            recording = Recording(file, recognizer.limits)
        except AsrError as error:
            yield index, error
            on_done(1)
            continue
        durations[index] = recording.info.duration
        if is_pipe(file):
            pipes[index] = recording

    def recording_of(index: int) -> Recording:
        return pipes.pop(index, None) or Recording(files[index], recognizer.limits)

    short = [index for index in durations if durations[index] <= segments.max_seconds]
    outcomes = transcribe_utterances(
        recognizer,
        [files[index] for index in short],
        [durations[index] for index in short],
        lambda position: recording_of(short[position]).read(),
        decoder,
        batch_seconds=batch_seconds,
        on_done=on_done,
        lanes=lanes,
    )
    with closing(outcomes):
        for position, outcome in outcomes:
            yield short[position], outcome
    long = sorted(durations.keys() - set(short))
    transcribe = partial(_transcribe_long, recognizer, recording_of, decoder, segments)
    transcripts = in_lanes(long, lambda index: index, transcribe, _lanes(recognizer, lanes, long))
    with closing(transcripts):
        for index, outcome in zip(long, transcripts, strict=True):
            yield index, outcome
            on_done(1)


def transcribe_utterances(
    recognizer: Recognizer,
    names: Sequence[str],
    durations: Sequence[float],
    load: Callable[[int], Waveform],
    decoder: Decoder | None = None,
    *,
    batch_seconds: float = BATCH_SECONDS,
    speakers: Sequence[str | None] | None = None,
    on_done: Callable[[int], None] = lambda count: None,
    lanes: int | None = None,
) -> Generator[tuple[int, Outcome], None, None]:
    """As :func:`transcribe_files`, for audio that ``load(index)`` fetches when its batch comes.

    ``names`` place errors, ``durations`` (seconds) plan the batches, ``speakers`` are who speaks.
    ``load`` is called by other threads.
    """
    decoder = decoder or recognizer.decoder()
    lanes = _lanes(recognizer, lanes, durations)

    def prepare(batch: list[int]) -> _Batch:
        # A file that cannot be used must not fail the batch.
        prepared = _Batch()
        for index in batch:
            try:
                speaker = speakers[index] if speakers else None
                prepared.waveforms[index] = recognizer.prepare(load(index), speaker)
            except AsrError as error:
                prepared.errors[index] = error.at(names[index])
        return prepared

    batches = even_batches(durations, batch_seconds, lanes)
    transcribe = partial(_transcribe_batch, recognizer, decoder, names)
    outcomes = in_lanes(batches, prepare, transcribe, lanes)
    with closing(outcomes):
        for batch in outcomes:
            yield from batch
            on_done(len(batch))


def in_order(outcomes: Iterator[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
    """The same pairs by rising index, each as early as that allows. Indices run from 0."""
    waiting: dict[int, Outcome] = {}
    due = 0
    for index, outcome in outcomes:
        waiting[index] = outcome
        while due in waiting:
            yield due, waiting.pop(due)
            due += 1


def _lanes(recognizer: Recognizer, wanted: int | None, items: Sequence[object]) -> int:
    """How many batches are recognised at once; one utterance has all threads to itself."""
    own = torch.get_num_threads() if recognizer.device.type == "cpu" else 1
    return max(1, min(own if wanted is None else wanted, len(items)))


@dataclass(frozen=True)
class _Batch:
    """Utterances of a batch by index, those that can be recognised and those that cannot."""

    waveforms: dict[int, PreparedWaveform] = field(default_factory=dict)
    errors: dict[int, AsrError] = field(default_factory=dict)


def _transcribe_batch(
    recognizer: Recognizer, decoder: Decoder, names: Sequence[str], batch: _Batch
) -> list[tuple[int, Outcome]]:
    outcomes: list[tuple[int, Outcome]] = list(batch.errors.items())
    try:
        transcripts = recognizer.recognize(list(batch.waveforms.values()), decoder)
        return outcomes + list(zip(batch.waveforms, transcripts, strict=True))
    except AsrError:
        return outcomes + [
            (index, _transcribe_alone(recognizer, names[index], waveform, decoder))
            for index, waveform in batch.waveforms.items()
        ]


def _transcribe_alone(
    recognizer: Recognizer,
    file: str,
    waveform: PreparedWaveform,
    decoder: Decoder,
) -> Outcome:
    """What one file gives by itself, after its batch failed."""
    try:
        return recognizer.recognize([waveform], decoder)[0]
    except AsrError as own:
        return own.at(file)


def _transcribe_long(
    recognizer: Recognizer,
    recording_of: Callable[[int], Recording],
    decoder: Decoder,
    segments: SegmentOptions,
    index: int,
) -> Outcome:
    try:
        recording = recording_of(index)
        blocks = recording.blocks(recognizer.sample_rate)
        transcript = transcribe_blocks(recognizer, blocks, decoder, segments)
    except AsrError as error:
        return error
    # Resampling rounds: the length is that of the audio as it came.
    return replace(transcript, duration=recording.info.duration)
