"""A recording of any length, read block by block: a three hours' one takes no more memory than a
minute's."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asr.audio.blocks import link_blocks
from asr.audio.containers import Data, container_of, container_to_read
from asr.audio.decode import AudioInfo, decode_links, measure
from asr.audio.limits import AudioLimits, check_bytes
from asr.audio.links import own_links
from asr.audio.mapped import let_go, mapped
from asr.files.read import is_pipe, open_input
from asr.types import AsrError, AudioError, Waveform

__all__ = ["Recording"]

PIPE_BYTES = 1024 * 1024  # read at once
BLOCKS_IN_MEMORY = 64  # of samples, whose bytes stay in memory when they were read


class Recording:
    """Audio in a file, in a pipe, or on standard input (``-``). Errors name it.

    Of a file only those bytes are in memory that are being read. What comes through a pipe is kept
    on disk, in a file without a name that is gone with this object.

    Args:
        path: where it is.
        limits: of what comes through a pipe, the bytes; of all, rates and channels and what else
            they hold.

    Raises:
        AudioError: it is missing or unreadable, no audio that is read, or beyond ``limits``.
    """

    def __init__(self, path: str | os.PathLike[str], limits: AudioLimits) -> None:
        self.path = str(path)
        self._limits = limits
        try:
            self._data = self._bytes()
            check_bytes(len(self._data), limits)
            self._links = own_links(self._data)
            self.info: AudioInfo = measure(self._links)
            let_go(self._data)
        except AsrError as error:
            raise error.at(self.path) from None

    def read(self) -> Waveform:
        """All of it at its own rate, as :func:`asr.audio.read_audio` gives it.

        Raises:
            AudioError: samples are missing or damaged, not usable, or beyond the limits.
        """
        try:
            return decode_links(self._links, len(self._data), self._limits)
        except AsrError as error:
            raise error.at(self.path) from None

    def blocks(self, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        """Its samples at ``sample_rate``, channels averaged, in blocks ``(N,)`` of a few seconds.

        Raises:
            AudioError: see :meth:`read`; after the blocks before.
        """
        blocks = link_blocks(self._links, len(self._data), sample_rate, limits=self._limits)
        try:
            for number, block in enumerate(blocks):
                yield block
                if number % BLOCKS_IN_MEMORY == 0:
                    let_go(self._data)
        except AsrError as error:
            raise error.at(self.path) from None
        # No header told it more exactly.
        self.info = replace(self.info, num_samples=blocks.num_samples)

    def _bytes(self) -> Data:
        if not is_pipe(self.path):
            with mapped(self.path) as data:
                return data
        try:
            with open_input(self.path) as source, tempfile.TemporaryFile() as kept:
                for part in iter(lambda: source.read(PIPE_BYTES), b""):
                    if kept.tell() == 0 and container_of(part) is None:
                        container_to_read(part)  # refused before the rest is waited for
                    kept.write(part)
                    if kept.tell() > self._limits.max_bytes:
                        break  # refused for it
                kept.flush()
                return mmap.mmap(kept.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise AudioError("the audio is empty", remedy="send the bytes of a recording") from None
        except OSError as error:
            raise AudioError(
                f"cannot read the file: {error.strerror}",
                remedy="check the path, and the space left for temporary files",
            ) from None
