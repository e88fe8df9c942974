"""Requests of ``asr.v1`` as Riva's clients would send them, for suites that try every door."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest

from server.pb.v1 import speech_pb2 as pb

REASON = "the extra riva is not installed"
ENCODINGS = {"LINEAR16": "LINEAR_PCM", "OGG": "OGGOPUS", "UNSPECIFIED": "ENCODING_UNSPECIFIED"}
MIB = 1024 * 1024
CUSTOM = ("decoder", "beam_width", "audio_channel")  # beside what Riva has fields for


@pytest.fixture(scope="session")
def riva_door() -> SimpleNamespace:
    """``request(config, audio)`` makes the message, ``ask(channel, config, audio)`` sends it;
    ``stream`` sends the same audio in pieces."""
    rasr = pytest.importorskip("riva.client.proto.riva_asr_pb2", reason=REASON)
    audio_pb = pytest.importorskip("riva.client.proto.riva_audio_pb2", reason=REASON)
    stubs = pytest.importorskip("riva.client.proto.riva_asr_pb2_grpc", reason=REASON)

    def encoding_of(config: pb.RecognitionConfig) -> int:
        if config.encoding not in pb.AudioEncoding.values():
            return config.encoding
        name = pb.AudioEncoding.Name(config.encoding).removeprefix("AUDIO_ENCODING_")
        name = ENCODINGS.get(name, name)
        # What Riva has no name for is no encoding there either.
        return dict(audio_pb.AudioEncoding.items()).get(name, 99)

    def request(config: pb.RecognitionConfig, audio: bytes) -> object:
        translated = rasr.RecognitionConfig(
            encoding=encoding_of(config),
            sample_rate_hertz=config.sample_rate_hertz,
            audio_channel_count=config.audio_channel_count,
            max_alternatives=config.max_alternatives,
            enable_word_time_offsets=config.enable_word_time_offsets,
            model=config.model,
            verbatim_transcripts=True,
            speech_contexts=[
                rasr.SpeechContext(phrases=context.phrases, boost=context.boost)
                for context in config.speech_contexts
            ],
        )
        for name in CUSTOM:
            if getattr(config, name):
                translated.custom_configuration[name] = str(getattr(config, name))
        if config.HasField("lm_weight"):
            translated.custom_configuration["lm_weight"] = str(config.lm_weight)
        return rasr.RecognizeRequest(config=translated, audio=audio)

    def ask(
        channel: grpc.Channel, config: pb.RecognitionConfig, audio: bytes
    ) -> tuple[grpc.StatusCode, object]:
        """The status, with its message or the first result."""
        stub = stubs.RivaSpeechRecognitionStub(channel)
        try:
            answer = stub.Recognize(request(config, audio), timeout=120)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, answer.results[0]

    def stream(
        channel: grpc.Channel, config: pb.RecognitionConfig, audio: bytes
    ) -> tuple[grpc.StatusCode, str | None]:
        """The status, with its message, of a stream with ``audio``."""
        asked = rasr.StreamingRecognitionConfig(config=request(config, b"").config)
        pieces = (audio[place : place + MIB] for place in range(0, len(audio), MIB))
        messages = [
            rasr.StreamingRecognizeRequest(streaming_config=asked),
            *(rasr.StreamingRecognizeRequest(audio_content=piece) for piece in pieces),
        ]
        stub = stubs.RivaSpeechRecognitionStub(channel)
        try:
            list(stub.StreamingRecognize(iter(messages), timeout=120))
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, None

    return SimpleNamespace(
        request=request, ask=ask, stream=stream, stub=stubs.RivaSpeechRecognitionStub
    )
