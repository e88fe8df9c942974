"""Training speech as files, for people to hear what training hears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import write_wav
from asr.files.write import write_text
from asr.types import Waveform
from recipes.common.data import Batch

__all__ = ["write_examples"]

Item = tuple[str, str, NDArray[np.float32]]  # id, text, samples


def write_examples(
    folder: Path, batches: Iterable[Batch], count: int, sample_rate: int
) -> list[Path]:
    """Write the first ``count`` utterances of ``batches``, changed as they are.

    Returns:
        The WAV files, ``001.wav`` and so on. ``examples.tsv`` beside them has their ids and texts.

    Raises:
        AudioError: a file cannot be written, or audio cannot be read.
        OSError: the folder or the list cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, lines = [], ["file\tid\ttext"]
    for number, (name, text, samples) in enumerate(islice(_items(batches), count), start=1):
        paths.append(folder / f"{number:03}.wav")
        write_wav(paths[-1], Waveform(samples, sample_rate))
        lines.append(f"{paths[-1].name}\t{name}\t{text}")
    write_text(folder / "examples.tsv", "\n".join(lines) + "\n")
    return paths


def _items(batches: Iterable[Batch]) -> Iterator[Item]:
    for batch in batches:
        rows = zip(batch.ids, batch.texts, batch.waveforms, batch.lengths, strict=True)
        for name, text, samples, length in rows:
            yield name, text, samples[:length].numpy()
