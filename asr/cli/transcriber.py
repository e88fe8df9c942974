"""The recogniser that ``asr transcribe`` asks for, applied to files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from asr.audio import OWN_RECORDINGS
from asr.cli.recognition import load_to_decode
from asr.gate import Gate
from asr.itn import shared_normalizer
from asr.segmenter import LONGEST, SHORTEST, SegmentOptions
from asr.transcribe import Outcome, transcribe_files
from asr.types import AsrError, ConfigError

__all__ = ["Transcriber"]


class Transcriber:
    """What a command line asks for, with its model loaded.

    Raises:
        AsrError: the model or something else that is named cannot be read, or they do not fit.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        seconds = options.segment_seconds
        if not 3 * SHORTEST <= seconds <= LONGEST:
            raise ConfigError(
                f"--segment-seconds is {seconds:g}", remedy=f"give {3 * SHORTEST:g} to {LONGEST:g}"
            )
        self._segments = SegmentOptions(seconds / 3, seconds)
        gate = Gate(options.silence_gate, options.min_confidence)
        self._normalizer = shared_normalizer() if options.written else None
        self._recognizer, self._decoder = load_to_decode(options, gate, OWN_RECORDINGS)
        self._batch_seconds = options.batch_seconds

    def __call__(
        self, files: Sequence[str], on_done: Callable[[int], None] = lambda count: None
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield each file's index with its transcript or error, in the order of the batches.

        ``on_done`` is told how many files each batch finished.
        """
        outcomes = transcribe_files(
            self._recognizer,
            files,
            self._decoder,
            batch_seconds=self._batch_seconds,
            segments=self._segments,
            on_done=on_done,
        )
        for index, outcome in outcomes:
            if self._normalizer is not None and not isinstance(outcome, AsrError):
                outcome = self._normalizer.transcript(outcome)
            yield index, outcome
