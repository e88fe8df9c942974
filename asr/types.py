"""The values that travel between the parts of the toolkit, and the errors all of them raise.

This module imports nothing of ours, so every layer may import it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:  # what only writes results down does without it
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AlignmentError",
    "AsrError",
    "AudioError",
    "BundleError",
    "ConfigError",
    "CorpusError",
    "DecodingError",
    "DeviceMemoryError",
    "GraphError",
    "Hypothesis",
    "LanguageModelError",
    "ModelError",
    "Search",
    "Segment",
    "TimedToken",
    "TokenError",
    "TrainingError",
    "Transcript",
    "Waveform",
    "Word",
]


SPACE = "<space>"  # the token between words

Error = TypeVar("Error", bound="AsrError")


class AsrError(Exception):
    """Something a user can mend: *what* is wrong, *where* it was found, and the *remedy*.

    ``str(error)`` is one line for a terminal: ``where: what (remedy)``. The server sends only
    ``what`` and ``remedy`` to clients, because ``where`` may be a path of the machine.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.remedy})" if self.remedy else text

    def at(self: Error, where: str) -> Error:
        """The same error, with the place ``where`` unless it has one: the first named is nearest.

        >>> str(AudioError("the audio is damaged").at("a.wav"))
        'a.wav: the audio is damaged'
        """
        if self.where is not None:
            return self
        return type(self)(self.what, where=where, remedy=self.remedy)

    def public_message(self) -> str:
        """The message without its location, safe to send to a client."""
        return f"{self.what} ({self.remedy})" if self.remedy else self.what


class AudioError(AsrError):
    """Bytes or samples that are not usable audio, or audio beyond the limits."""


class ConfigError(AsrError):
    """An option, or a combination of options, that cannot work."""


class MissingPackageError(ConfigError):
    """A package of an extra that is not installed."""


class TokenError(AsrError):
    """Text with symbols outside the vocabulary, or a broken vocabulary."""


class CorpusError(AsrError):
    """A missing or damaged corpus folder, transcript or manifest row."""


class ModelError(AsrError):
    """Tensors or weights whose shape or type does not fit the model."""


class LanguageModelError(AsrError):
    """A language model file that is missing or damaged, or holds what is no language model."""


class GraphError(AsrError):
    """A decoding graph or a lexicon that is missing, damaged, or made for something else."""


class AlignmentError(AsrError):
    """A target that CTC cannot align: empty, or longer than its frames allow."""


class TrainingError(AsrError):
    """Training that cannot go on: a loss that is not finite, or a missing checkpoint."""


class BundleError(AsrError):
    """A model bundle that is missing, damaged, or made for something else."""


class DecodingError(AsrError):
    """An unknown decoder or decoder options out of range."""


class DeviceMemoryError(AsrError):
    """A batch that does not fit into the memory of the device that computes it."""


@dataclass(frozen=True)
class Waveform:
    """Mono audio: ``samples`` is float32 ``(N,)`` in [-1, 1], ``sample_rate`` is in hertz."""

    samples: NDArray[np.float32]
    sample_rate: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class TimedToken:
    """One emitted token. ``start`` and ``end`` are seconds; ``confidence`` lies in [0, 1]."""

    token: str
    start: float
    end: float
    confidence: float

    def shifted(self, seconds: float) -> TimedToken:
        """The same, ``seconds`` later."""
        return replace(self, start=self.start + seconds, end=self.end + seconds)

    def within(self, seconds: float) -> TimedToken:
        """The same, no later than ``seconds``."""
        return replace(self, start=min(self.start, seconds), end=min(self.end, seconds))


@dataclass(frozen=True)
class Word:
    """One word. ``start`` and ``end`` are seconds; ``confidence`` lies in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float

    def shifted(self, seconds: float) -> Word:
        """The same, ``seconds`` later."""
        return replace(self, start=self.start + seconds, end=self.end + seconds)

    def within(self, seconds: float) -> Word:
        """The same, no later than ``seconds``."""
        return replace(self, start=min(self.start, seconds), end=min(self.end, seconds))


Search = Literal["exact", "sectioned", "cut"]


@dataclass(frozen=True)
class Hypothesis:
    """One decoding of one utterance.

    ``score`` is what the decoder ranked it by, the sum of three parts. ``acoustic_score`` is the
    natural logarithm of the probability the acoustic model gave it: of the best path for greedy
    decoding and search in a graph, of the labelling (summed over paths) for beam and prefix search.
    ``lm_score`` is the language model's log-probability times its weight, ``bonus_score`` what
    words, tokens and phrases earned or cost; both are 0 where there is no such thing.
    ``confidence`` lies in [0, 1] and is comparable between utterances of any length.
    ``search`` says what prefix search proved of this rank: ``"exact"``: nothing more probable is
    left out; ``"sectioned"``: it is the best join of the best of each section; ``"cut"``: the
    budget ended the search. Other decoders prove nothing.
    ``spoken_text`` and ``spoken_words`` are what ``text`` and ``words`` were before they got their
    written form ("$23" for "twenty three dollars"); None and empty where they have none.
    """

    text: str
    score: float
    confidence: float
    tokens: tuple[TimedToken, ...] = field(default=())
    words: tuple[Word, ...] = field(default=())
    search: Search | None = None
    lm_score: float = 0.0
    bonus_score: float = 0.0
    spoken_text: str | None = None
    spoken_words: tuple[Word, ...] = field(default=())

    @property
    def acoustic_score(self) -> float:
        """What of the score is the acoustic model's."""
        return self.score - self.lm_score - self.bonus_score

    def shifted(self, seconds: float) -> Hypothesis:
        """The same, ``seconds`` later."""
        return replace(
            self,
            tokens=tuple(token.shifted(seconds) for token in self.tokens),
            words=tuple(word.shifted(seconds) for word in self.words),
            spoken_words=tuple(word.shifted(seconds) for word in self.spoken_words),
        )

    def within(self, seconds: float) -> Hypothesis:
        """The same, in audio of so many seconds: its last frame may reach beyond."""
        ends = [token.end for token in self.tokens]
        ends += [word.end for word in (*self.words, *self.spoken_words)]
        if max(ends, default=0.0) <= seconds:
            return self  # nearly always
        return replace(
            self,
            tokens=tuple(token.within(seconds) for token in self.tokens),
            words=tuple(word.within(seconds) for word in self.words),
            spoken_words=tuple(word.within(seconds) for word in self.spoken_words),
        )

    def timed_words(self) -> tuple[Word, ...]:
        """The words, or the tokens (say, phones) of a hypothesis that has no words.

        A space is no word: between characters alone it says that there is none.
        """
        if self.words:
            return self.words
        return tuple(
            Word(t.token, t.start, t.end, t.confidence) for t in self.tokens if t.token != SPACE
        )


@dataclass(frozen=True)
class Segment:
    """A part of a long recording, from ``start`` to ``end`` seconds: ``hypotheses`` best first."""

    start: float
    end: float
    hypotheses: tuple[Hypothesis, ...]


@dataclass(frozen=True)
class Transcript:
    """What a recogniser says of one utterance: ``hypotheses`` best first, never empty.

    A long recording has ``segments``, and one hypothesis, that of the best of each.
    """

    hypotheses: tuple[Hypothesis, ...]
    duration: float
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text
