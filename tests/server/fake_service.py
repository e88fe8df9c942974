"""A service that says what a test tells it to, over real sockets, and remembers what it heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechServicer, add_SpeechServicer_to_server

MODELS = [
    pb.Model(
        name="letters",
        is_default=True,
        sample_rate_hertz=16000,
        answers_at_end=True,
        vocabulary_size=28,
        frame_step={"nanos": 20_000_000},
        default_decoder="beam",
        decoders=["greedy", "beam", "prefix"],
        fingerprint="ab" * 32,
        has_language_model=True,
    ),
    pb.Model(name="phones", sample_rate_hertz=8000, default_decoder="greedy", decoders=["greedy"]),
]


@dataclass
class Failure:
    """A status to answer with once. ``after``: how many messages of a stream are read before."""

    code: str = "UNAVAILABLE"
    details: str = "not now"
    pushback: str | None = "1"
    after: int = 1

    def abort(self, context: grpc.ServicerContext) -> None:
        if self.pushback is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
        context.abort(grpc.StatusCode[self.code], self.details)


@dataclass
class Heard:
    """One attempt of a call, as the service saw it."""

    method: str
    metadata: dict[str, str]
    config: pb.RecognitionConfig | None = None
    audio: bytes = b""
    live: pb.StreamingRecognitionConfig | None = None
    kinds: list[str] = field(default_factory=list)  # of a live stream's messages


def result_of(audio: bytes, config: pb.RecognitionConfig) -> pb.SpeechRecognitionResult:
    """Two words about how much audio there was; it is a second long."""
    words = [
        pb.WordInfo(
            word=str(len(audio)),
            start_time={"nanos": 125_000_000},
            end_time={"nanos": 500_000_000},
            confidence=0.75,
        ),
        pb.WordInfo(
            word="bytes",
            start_time={"nanos": 500_000_000},
            end_time={"seconds": 1},
            confidence=0.25,
        ),
    ]
    best = pb.SpeechRecognitionAlternative(
        transcript=f"{len(audio)} bytes",
        confidence=0.5,
        score=-1.5,
        words=words if config.enable_word_time_offsets else [],
        search_proof="SEARCH_PROOF_EXACT" if config.decoder == "prefix" else None,
    )
    second = pb.SpeechRecognitionAlternative(transcript="bites", confidence=0.25, score=-2.5)
    return pb.SpeechRecognitionResult(
        alternatives=[best, second][: config.max_alternatives or 1],
        result_end_time={"seconds": 1},
    )


def spoken(
    words: list[str], segment: int, config: pb.StreamingRecognitionConfig, *, is_final: bool
) -> pb.TranscribeStreamResponse:
    """Segments of ten seconds each, in which a word takes one."""
    start = 10 * segment
    infos = [
        pb.WordInfo(
            word=word, start_time={"seconds": start + n}, end_time={"seconds": start + n + 1}
        )
        for n, word in enumerate(words)
    ]
    cut = [(words, infos, 0.0)]
    if not is_final:
        cut = [(words[:-1], infos[:-1], 1.0), (words[-1:], infos[-1:], 0.25)]
    results = []
    for texts, timed, stability in cut:
        text = " ".join(texts)
        if results:
            text = " " + text
        best = pb.SpeechRecognitionAlternative(transcript=text)
        if config.config.enable_word_time_offsets:
            best.words.extend(timed)
        if texts or is_final:
            results.append(
                pb.StreamingRecognitionResult(
                    alternatives=[best],
                    is_final=is_final,
                    stability=stability,
                    segment_start_time={"seconds": start},
                    result_end_time={"seconds": start + len(words)},
                )
            )
    return pb.TranscribeStreamResponse(
        results=pb.StreamingRecognitionResults(
            results=results, speech_event_type=int(is_final and config.single_utterance)
        )
    )


@dataclass
class FakeSpeech(SpeechServicer):
    """Fails as often as ``failures`` says, in its order, then answers.

    ``hook``, where a test sets it, is called with each request's audio before the answer. A call
    that is over, for whatever reason, releases ``ended``.
    """

    failures: list[Failure] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    hook: Callable[[bytes], object] = len
    result: Callable[..., pb.SpeechRecognitionResult] = result_of
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def Transcribe(self, request, context):  # noqa: N802
        heard = self._listen("Transcribe", context)
        heard.config, heard.audio = request.config, request.audio
        self._fail(context)
        return pb.TranscribeResponse(results=[self._result(heard, context)])

    def TranscribeChunks(self, requests, context):  # noqa: N802
        heard = self._listen("TranscribeChunks", context)
        self._read(requests, heard, context)
        return pb.TranscribeChunksResponse(results=[self._result(heard, context)])

    def TranscribeStream(self, requests, context):  # noqa: N802
        heard = self._listen("TranscribeStream", context)
        first = next(requests)
        heard.config = first.config
        if first.HasField("streaming_config"):
            heard.live = first.streaming_config
            heard.config = heard.live.config
        if self.failures and self.failures[0].after <= 1:
            self._fail(context)
        yield pb.TranscribeStreamResponse(
            started=pb.StreamStarted(
                model="letters", answers_at_end=True, max_audio={"seconds": 600}
            )
        )
        if heard.live is not None:
            yield from self._speak(requests, heard)
            return
        self._read(requests, heard, context, count=1)
        yield pb.TranscribeStreamResponse(result=self._result(heard, context))

    def _speak(self, requests, heard: Heard) -> Iterator[pb.TranscribeStreamResponse]:
        """A word for each piece, how long it was; all but the last word are settled."""
        words: list[str] = []
        segment = 0
        for request in requests:
            heard.kinds.append(request.WhichOneof("streaming_request"))
            if request.HasField("end_segment"):
                yield spoken(words, segment, heard.live, is_final=True)
                words, segment = [], segment + 1
                if heard.live.single_utterance:
                    return
                continue
            heard.audio += request.audio_content
            self.hook(heard.audio)
            words.append(str(len(request.audio_content)))
            if heard.live.interim_results:
                yield spoken(words, segment, heard.live, is_final=False)
        if words:
            yield spoken(words, segment, heard.live, is_final=True)

    def ListModels(self, request, context):  # noqa: N802
        self._listen("ListModels", context)
        self._fail(context)
        return pb.ListModelsResponse(models=MODELS)

    def GetModel(self, request, context):  # noqa: N802
        self._listen("GetModel", context)
        self._fail(context)
        return pb.GetModelResponse(model=self._model(request.name, context))

    def _model(self, name: str, context: grpc.ServicerContext) -> pb.Model:
        for model in MODELS:
            if name in ("", model.name):
                return model
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {name!r}")
        raise AssertionError

    def _listen(self, method: str, context: grpc.ServicerContext) -> Heard:
        context.add_callback(self.ended.release)
        self.heard.append(Heard(method, dict(context.invocation_metadata())))
        return self.heard[-1]

    def _fail(self, context: grpc.ServicerContext) -> None:
        if self.failures:
            self.failures.pop(0).abort(context)

    def _read(self, requests, heard: Heard, context: grpc.ServicerContext, count: int = 0) -> None:
        audio = bytearray()
        for number, request in enumerate(requests, start=count + 1):
            if request.WhichOneof("streaming_request") == "config":
                heard.config = request.config
            audio += request.audio_content
            if self.failures and number == self.failures[0].after:
                self._fail(context)
        heard.audio = bytes(audio)

    def _result(self, heard: Heard, context: grpc.ServicerContext) -> pb.SpeechRecognitionResult:
        assert heard.config is not None
        self._model(heard.config.model, context)
        self.hook(heard.audio)
        return self.result(heard.audio, heard.config)


@dataclass
class Served:
    """A fake service and where it is."""

    speech: FakeSpeech
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def heard(self) -> list[Heard]:
        return self.speech.heard

    @property
    def methods(self) -> list[str]:
        return [heard.method for heard in self.heard]


@contextmanager
def serve(
    credentials: grpc.ServerCredentials | None = None, *failures: Failure, **speech: object
) -> Iterator[Served]:
    fake = FakeSpeech(list(failures), **speech)
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        add_SpeechServicer_to_server(fake, server)
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield Served(fake, port)
        finally:
            assert server.stop(grace=None).wait(timeout=30)


@pytest.fixture
def serve_fake() -> Iterator[Callable[..., Served]]:
    """``serve_fake(credentials, *failures)``: a fake service until the test's end."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(serve(*args, **kwargs))


@pytest.fixture
def fake(serve_fake) -> Served:
    """A fake service that answers everything."""
    return serve_fake()


@pytest.fixture(scope="session")
def failure() -> type[Failure]:
    return Failure


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Something to wait for, open at the test's end at the latest."""
    event = threading.Event()
    yield event
    event.set()
