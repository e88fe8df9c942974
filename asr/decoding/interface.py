"""What every decoder does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from asr.decoding.config import DecoderOptions
from asr.decoding.stopping import Stop
from asr.decoding.stream import DecoderStream
from asr.types import Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Decoder"]


class Decoder(Protocol):
    """What every decoder does. It is made once, and used for any number of utterances."""

    @property
    def options(self) -> DecoderOptions:
        """What it was made with."""
        ...

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> DecoderStream:
        """Return a stream for one utterance that is decoded while it goes on.

        A decoder has any number of streams at once. ``first_frame`` is the number of the
        utterance's first frame among all that were heard: times count from frame 0.
        """
        ...

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return hypotheses, best first, for each utterance of ``log_probs (B, T, V)``.

        Raises:
            StoppedError: another thread asked for it by ``stop``.
        """
        ...
