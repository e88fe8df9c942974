"""What the service says, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from google.protobuf.duration_pb2 import Duration

from server.client.errors import ClientError
from server.pb.v1 import speech_pb2 as pb

__all__ = [
    "Hypothesis",
    "Model",
    "StreamStarted",
    "Transcription",
    "Word",
    "read_first",
    "read_model",
    "read_result",
    "read_results",
]

Proof = Literal["exact", "sectioned", "cut"]
PROOFS: dict[int, Proof] = {
    pb.SEARCH_PROOF_EXACT: "exact",
    pb.SEARCH_PROOF_SECTIONED: "sectioned",
    pb.SEARCH_PROOF_CUT: "cut",
}


@dataclass(frozen=True)
class Word:
    """One word (or phone). ``start`` and ``end`` are seconds; ``confidence`` lies in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """One way to read the audio. ``score`` is a natural logarithm, the sum of ``acoustic_score``,
    ``lm_score`` and ``bonus_score``; ``confidence`` is in [0, 1]; ``words`` is empty unless
    ``enable_word_time_offsets`` was set.

    ``search`` says what prefix search proved of this rank: ``"exact"``: nothing more probable is
    left out; ``"sectioned"``: the best join of the best of each section; ``"cut"``: its budget
    ended the search. None: the decoder proves nothing.
    """

    text: str
    score: float
    confidence: float
    words: tuple[Word, ...]
    search: Proof | None = None
    acoustic_score: float = 0.0
    lm_score: float = 0.0
    bonus_score: float = 0.0


@dataclass(frozen=True)
class Transcription:
    """What was said: ``hypotheses`` best first, never empty. ``duration`` is in seconds."""

    hypotheses: tuple[Hypothesis, ...]
    duration: float

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text


@dataclass(frozen=True)
class StreamStarted:
    """What the server makes of a stream: the ``model`` that listens, whether it
    ``answers_at_end`` of the audio only, and the longest audio, ``max_audio`` seconds.
    """

    model: str
    answers_at_end: bool
    max_audio: float


@dataclass(frozen=True)
class Model:
    """A model of the server and what can be asked of it; ``proto/asr/v1`` explains the fields.

    ``sample_rate`` is in hertz, ``frame_step`` in seconds.
    """

    name: str
    is_default: bool
    sample_rate: int
    answers_at_end: bool
    vocabulary_size: int
    frame_step: float
    default_decoder: str
    decoders: tuple[str, ...]
    fingerprint: str
    has_language_model: bool


def read_results(results: Iterable[pb.SpeechRecognitionResult]) -> Transcription:
    """The one part that an answer holds.

    Raises:
        ClientError: there is none.
    """
    for result in results:
        return read_result(result)
    raise ClientError("the server answered without a result")


def read_result(result: pb.SpeechRecognitionResult) -> Transcription:
    """One part of the audio."""
    return Transcription(
        hypotheses=tuple(_hypothesis(alternative) for alternative in result.alternatives),
        duration=_seconds(result.result_end_time),
    )


def read_first(response: pb.TranscribeStreamResponse | None, request_id: str) -> StreamStarted:
    """The first message of a stream, None where there was none.

    Raises:
        ClientError: it is not what the service promises.
    """
    if response is None or response.WhichOneof("streaming_response") != "started":
        raise ClientError("the server's stream does not begin with `started`", None, request_id)
    started = response.started
    return StreamStarted(started.model, started.answers_at_end, _seconds(started.max_audio))


def read_model(model: pb.Model) -> Model:
    """One model's description."""
    return Model(
        name=model.name,
        is_default=model.is_default,
        sample_rate=model.sample_rate_hertz,
        answers_at_end=model.answers_at_end,
        vocabulary_size=model.vocabulary_size,
        frame_step=_seconds(model.frame_step),
        default_decoder=model.default_decoder,
        decoders=tuple(model.decoders),
        fingerprint=model.fingerprint,
        has_language_model=model.has_language_model,
    )


def _hypothesis(alternative: pb.SpeechRecognitionAlternative) -> Hypothesis:
    return Hypothesis(
        text=alternative.transcript,
        score=alternative.score,
        confidence=alternative.confidence,
        words=tuple(_word(word) for word in alternative.words),
        search=PROOFS.get(alternative.search_proof),
        acoustic_score=alternative.acoustic_score,
        lm_score=alternative.lm_score,
        bonus_score=alternative.bonus_score,
    )


def _word(word: pb.WordInfo) -> Word:
    return Word(
        text=word.word,
        start=_seconds(word.start_time),
        end=_seconds(word.end_time),
        confidence=word.confidence,
    )


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9
