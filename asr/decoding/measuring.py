"""How much of what partials show stays, and how far their stability can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from asr.decoding.stream import DecoderStream, Partial
from asr.scoring import calibration_error, reliability
from asr.types import DecodingError

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding import Decoder

__all__ = ["PartialReport", "measure_partials"]


@dataclass(frozen=True)
class PartialReport:
    """What became of the partials of some utterances.

    Attributes:
        shown: words that partials showed; one that stays in its place counts once.
        changed: those of them that the final text has not in that place.
        stable: of the words in all partials, the share that was stable.
        stated: of each partial with words that may change, its stability.
        survived: of the same partials, whether the final text begins with their words.
            :func:`asr.calibration.fit_calibration` tells from both how to straighten stabilities.
    """

    shown: int
    changed: int
    stable: float
    stated: tuple[float, ...]
    survived: tuple[bool, ...]

    @property
    def flicker(self) -> float:
        """The share of the words shown that were changed later."""
        return self.changed / max(1, self.shown)

    @property
    def calibration_error(self) -> float:
        """How far stated and true probabilities are apart: see
        :func:`asr.scoring.calibration_error`."""
        return calibration_error(reliability(self.stated, self.survived))


def measure_partials(
    decoder: Decoder, utterances: Iterable[tuple[Tensor, Sequence[int]]]
) -> PartialReport:
    """Decode utterances by pieces and compare their partials with the final texts.

    Args:
        decoder: whatever it is made for.
        utterances: log-probabilities ``(T, V)``, and the sizes of their pieces, T together.

    Raises:
        DecodingError: sizes do not fit, or see :meth:`asr.decoding.DecoderStream.push`.
    """
    shown = changed = words = stable = 0
    stated: list[float] = []
    survived: list[bool] = []
    for log_probs, sizes in utterances:
        if sum(sizes) != len(log_probs):
            raise DecodingError(
                f"pieces of {sum(sizes)} frames for {len(log_probs)} frames",
                remedy="give the sizes of all pieces",
            )
        partials, final = _streamed(decoder.begin(), log_probs, sizes)
        seen = {place for partial in partials for place in enumerate(partial.text.split())}
        shown += len(seen)
        changed += len(seen - set(enumerate(final)))
        for partial in partials:
            said = partial.text.split()
            words += len(said)
            stable += len(partial.stable.split())
            if partial.text != partial.stable:
                stated.append(partial.stability)
                survived.append(final[: len(said)] == said)
    return PartialReport(shown, changed, stable / max(1, words), tuple(stated), tuple(survived))


def _streamed(
    stream: DecoderStream, log_probs: Tensor, sizes: Sequence[int]
) -> tuple[list[Partial], list[str]]:
    """The partials, and the words of the final text."""
    ends = accumulate(sizes)
    partials = [stream.push(log_probs[end - n : end]) for n, end in zip(sizes, ends, strict=True)]
    return partials, stream.finish()[0].text.split()
