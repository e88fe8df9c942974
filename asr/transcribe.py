"""Many files through one recogniser: batches of like length, results in the order of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from asr.audio import Recording
from asr.decoding import Decoder
from asr.files.read import is_pipe
from asr.long import transcribe_blocks
from asr.options import BATCH_SECONDS
from asr.recognizer import PreparedWaveform, Recognizer
from asr.segmenter import SegmentOptions
from asr.types import AsrError, ConfigError, Transcript, Waveform

__all__ = ["Outcome", "in_order", "plan_batches", "transcribe_files", "transcribe_utterances"]

Outcome = Transcript | AsrError


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


def transcribe_files(
    recognizer: Recognizer,
    files: Sequence[str],
    decoder: Decoder | None = None,
    *,
    batch_seconds: float = BATCH_SECONDS,
    segments: SegmentOptions | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[int, Outcome]]:
    """Yield each file's index with its transcript, or with the error that kept it from one.

    The order is that of the batches; :func:`in_order` gives that of the files. Only one batch of
    audio is in memory; what is longer than ``segments`` allow is read and recognised segment by
    segment. ``on_done`` is told how many files each batch finished.
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
    )
    for position, outcome in outcomes:
        yield short[position], outcome
    for index in sorted(durations.keys() - set(short)):
        yield index, _transcribe_long(recognizer, recording_of, index, decoder, segments)
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
) -> Iterator[tuple[int, Outcome]]:
    """As :func:`transcribe_files`, for audio that ``load(index)`` fetches when its batch comes.

    ``names`` place errors, ``durations`` (seconds) plan the batches, ``speakers`` are who speaks.
    """
    decoder = decoder or recognizer.decoder()

    def prepare(index: int) -> PreparedWaveform:
        return recognizer.prepare(load(index), speakers[index] if speakers else None)

    for batch in plan_batches(durations, batch_seconds):
        yield from _transcribe_batch(recognizer, names, batch, prepare, decoder)
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


def _transcribe_batch(
    recognizer: Recognizer,
    names: Sequence[str],
    indices: Sequence[int],
    prepare: Callable[[int], PreparedWaveform],
    decoder: Decoder,
) -> Iterator[tuple[int, Outcome]]:
    waveforms: dict[int, PreparedWaveform] = {}
    for index in indices:
        try:
            # A file that cannot be used must not fail the batch.
            waveforms[index] = prepare(index)
        except AsrError as error:
            yield index, error.at(names[index])
    try:
        transcripts = recognizer.recognize(list(waveforms.values()), decoder)
        yield from zip(waveforms, transcripts, strict=True)
    except AsrError:
        for index, waveform in waveforms.items():
            yield index, _transcribe_alone(recognizer, names[index], waveform, decoder)


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
    index: int,
    decoder: Decoder,
    segments: SegmentOptions,
) -> Outcome:
    try:
        recording = recording_of(index)
        blocks = recording.blocks(recognizer.sample_rate)
        transcript = transcribe_blocks(recognizer, blocks, decoder, segments)
    except AsrError as error:
        return error
    # Resampling rounds: the length is that of the audio as it came.
    return replace(transcript, duration=recording.info.duration)
