"""What the service says, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from google.protobuf.duration_pb2 import Duration

from server.client.errors import ClientError
from server.pb.v1 import speech_pb2 as pb

__all__ = [
    "Hypothesis",
    "LiveResult",
    "Model",
    "Posteriors",
    "StreamStarted",
    "Transcription",
    "Word",
    "read_first",
    "read_live",
    "read_model",
    "read_result",
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

    ``spoken_text`` and ``spoken_words`` are what ``text`` and ``words`` were before their written
    form; empty unless ``enable_inverse_text_normalization`` was set.
    """

    text: str
    score: float
    confidence: float
    words: tuple[Word, ...]
    search: Proof | None = None
    acoustic_score: float = 0.0
    lm_score: float = 0.0
    bonus_score: float = 0.0
    spoken_text: str = ""
    spoken_words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Posteriors:
    """How probable ``tokens`` are in each frame, ``frame_step`` seconds apart.

    ``probabilities`` holds them times 255, a byte each, frame after frame.
    """

    frame_step: float
    tokens: tuple[str, ...]
    probabilities: bytes


@dataclass(frozen=True)
class Transcription:
    """What was said: ``hypotheses`` best first, never empty. ``duration`` is in seconds.

    Where each channel was transcribed by itself (``enable_separate_recognition_per_channel``),
    ``channels`` are what was said in each, which tell their number, from 1, as ``channel``. What is
    around them is all of it in the order of time: :func:`server.client.turns_of`.

    ``posteriors`` is None unless ``enable_posteriors`` was set.
    """

    hypotheses: tuple[Hypothesis, ...]
    duration: float
    posteriors: Posteriors | None = None
    channel: int = 0
    channels: tuple[Transcription, ...] = ()

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text


@dataclass(frozen=True)
class LiveResult:
    """What was said in one segment of a live stream: so far, or finally.

    Attributes:
        hypotheses: best first, never empty; before the final result there is one.
        is_final: the segment has ended. The next result is of the next segment.
        settled: the beginning of the text that no later result of the segment takes back; all of it
            where the result is final.
        stability: how probable it is that the rest of the text stays as it is, 0 to 1.
        start, end: of the audio that this is about, in seconds from the beginning of the stream.
        is_last: the stream was to end with this segment (``single_utterance``), and has.
        channel: of which this is a segment, from 1, where each is transcribed by itself; else 0.
    """

    hypotheses: tuple[Hypothesis, ...]
    is_final: bool
    settled: str
    stability: float
    start: float
    end: float
    is_last: bool = False
    channel: int = 0

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text


@dataclass(frozen=True)
class StreamStarted:
    """What the server makes of a stream.

    Attributes:
        model: the one that listens.
        answers_at_end: results come after the audio's end only.
        max_audio: seconds of the longest audio; 0 where only the audio's header can tell.
        look_ahead: seconds that the model hears beyond what it writes down, of a live stream.
        chunk: seconds from one result of a live stream to the next.
    """

    model: str
    answers_at_end: bool
    max_audio: float
    look_ahead: float = 0.0
    chunk: float = 0.0


@dataclass(frozen=True)
class Model:
    """A model of the server and what can be asked of it; ``proto/asr/v1`` explains the fields.

    ``sample_rate`` is in hertz, ``frame_step`` in seconds. ``language_code`` is empty where the
    model does not tell.
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
    language_code: str = ""


def read_result(result: pb.SpeechRecognitionResult) -> Transcription:
    """One part of the audio."""
    return Transcription(
        hypotheses=tuple(_hypothesis(alternative) for alternative in result.alternatives),
        duration=_seconds(result.result_end_time),
        posteriors=_posteriors(result.posteriors) if result.HasField("posteriors") else None,
        channel=result.channel_tag,
    )


def _posteriors(posteriors: pb.Posteriors) -> Posteriors:
    return Posteriors(
        _seconds(posteriors.frame_step), tuple(posteriors.tokens), posteriors.probabilities
    )


def read_live(results: pb.StreamingRecognitionResults) -> LiveResult:
    """What a live stream says of a segment.

    Raises:
        ClientError: nothing, which the service promises not to.
    """
    parts = results.results
    if not parts or not all(part.alternatives for part in parts):
        raise ClientError("the server answered without a result")
    event = results.speech_event_type
    if parts[0].is_final:
        hypotheses = tuple(_hypothesis(alternative) for alternative in parts[0].alternatives)
        settled, stability = hypotheses[0].text, 1.0
    else:
        hypotheses = (_joined([part.alternatives[0] for part in parts]),)
        settled = "".join(p.alternatives[0].transcript for p in parts if p.stability == 1.0)
        stability = min(part.stability for part in parts)
    return LiveResult(
        hypotheses,
        parts[0].is_final,
        settled,
        stability,
        start=_seconds(parts[0].segment_start_time),
        end=_seconds(parts[0].result_end_time),
        is_last=event == pb.SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE,
        channel=parts[0].channel_tag,
    )


def _joined(parts: Sequence[pb.SpeechRecognitionAlternative]) -> Hypothesis:
    """The text that follows itself in ``parts``."""
    words = tuple(_word(word) for part in parts for word in part.words)
    return Hypothesis("".join(part.transcript for part in parts), 0.0, 0.0, words)


def read_first(response: pb.TranscribeStreamResponse | None, request_id: str) -> StreamStarted:
    """The first message of a stream, None where there was none.

    Raises:
        ClientError: it is not what the service promises.
    """
    if response is None or response.WhichOneof("streaming_response") != "started":
        raise ClientError("the server's stream does not begin with `started`", None, request_id)
    started = response.started
    return StreamStarted(
        started.model,
        started.answers_at_end,
        _seconds(started.max_audio),
        _seconds(started.look_ahead),
        _seconds(started.chunk),
    )


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
        language_code=model.language_code,
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
        spoken_text=alternative.spoken_transcript,
        spoken_words=tuple(_word(word) for word in alternative.spoken_words),
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
