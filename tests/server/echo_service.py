"""A stand-in for the service behind real sockets, and certificates for it."""

from __future__ import annotations

import asyncio
import datetime
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechServicer, SpeechStub, add_SpeechServicer_to_server
from server.transport.health import Health

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """``name.pem`` and ``name.key`` in ``folder``; the key is for its owner's eyes."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.touch(mode=0o600)
        key.write_bytes(self.key)
        return certificate, key


class Authority:
    """A certificate authority that lives as long as the test."""

    def __init__(self, name: str = "authority", *, days: int = 30) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        public = self._key.public_key()
        builder = _builder(self._name, self._name, public, days).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.certificate = _pem(builder.sign(self._key, hashes.SHA256()))

    def issue(self, name: str = "localhost", *, days: int = 30, begins: int = -100) -> Pair:
        """For a server or a client on this machine, valid between two numbers of days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ip_address("127.0.0.1")),
        ]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_name(name), self._name, key.public_key(), days, begins)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), pem_of(key))


def pem_of(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """A private key, encrypted where there is a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    begins: int = -100,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + days * DAY)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def authority() -> Callable[..., Authority]:
    """``authority()``: one of its own; ``authority().issue()``: what it signed."""
    return Authority


@pytest.fixture(scope="session")
def to_pem() -> Callable[..., bytes]:
    return pem_of


class Echo(SpeechServicer):
    """Answers with what it was asked, and counts the requests it has seen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed = threading.Event()  # a stream of answers was closed

    async def Transcribe(self, request: pb.TranscribeRequest, _: Any) -> pb.TranscribeResponse:  # noqa: N802
        self.seen.append(request)
        return pb.TranscribeResponse()

    async def TranscribeChunks(  # noqa: N802
        self, requests: AsyncIterator[pb.TranscribeChunksRequest], _: Any
    ) -> pb.TranscribeChunksResponse:
        async for request in requests:
            self.seen.append(request)
        return pb.TranscribeChunksResponse()

    async def TranscribeStream(  # noqa: N802
        self, requests: AsyncIterator[pb.TranscribeStreamRequest], _: Any
    ) -> AsyncIterator[pb.TranscribeStreamResponse]:
        try:
            async for request in requests:
                self.seen.append(request)
                yield pb.TranscribeStreamResponse(started=pb.StreamStarted(model="echo"))
        finally:
            self.closed.set()

    async def ListModels(self, request: pb.ListModelsRequest, _: Any) -> pb.ListModelsResponse:  # noqa: N802
        self.seen.append(request)
        return pb.ListModelsResponse()

    async def GetModel(self, request: pb.GetModelRequest, _: Any) -> pb.GetModelResponse:  # noqa: N802
        self.seen.append(request)
        return pb.GetModelResponse(model=pb.Model(name=request.name))


async def _one_to_many(request: pb.GetModelRequest, context: Any) -> None:
    for _ in range(2):
        await context.write(pb.GetModelResponse(model=pb.Model(name=request.name)))


# asr.v1 has no method with one request and a stream of answers; here is one, which writes them.
ONE_TO_MANY = "/test.Kinds/OneToMany"
KINDS = grpc.method_handlers_generic_handler(
    "test.Kinds",
    {
        "OneToMany": grpc.unary_stream_rpc_method_handler(
            _one_to_many,
            request_deserializer=pb.GetModelRequest.FromString,
            response_serializer=pb.GetModelResponse.SerializeToString,
        )
    },
)


@dataclass
class Serving:
    """A server in a thread of this process; ``problems`` is what asyncio complained of."""

    port: int
    servicer: Any
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    problems: list[str]

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @contextmanager
    def connect(
        self, credentials: grpc.ChannelCredentials | None = None, **options: Any
    ) -> Iterator[grpc.Channel]:
        """A channel with a connection of its own."""
        arguments = [("grpc.use_local_subchannel_pool", 1), *options.items()]
        channel = (
            grpc.secure_channel(self.address, credentials, options=arguments)
            if credentials
            else grpc.insecure_channel(self.address, options=arguments)
        )
        with channel:
            yield channel


@contextmanager
def run(
    interceptors: Sequence[Any] = (),
    *,
    servicer: Any = None,
    options: Sequence[tuple[str, Any]] = (),
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[Serving]:
    started: Queue[Serving] = Queue()
    servicer = servicer or Echo()

    async def live() -> None:
        server = grpc.aio.server(interceptors=tuple(interceptors), options=tuple(options))
        health = Health()
        add_SpeechServicer_to_server(servicer, server)
        add_HealthServicer_to_server(health, server)
        server.add_generic_rpc_handlers((KINDS,))
        host = "localhost:0"
        port = server.add_secure_port(host, credentials) if credentials else None
        port = port or server.add_insecure_port(host)
        await server.start()
        health.serve()
        loop, problems = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: problems.append(str(context)))
        serving = Serving(port, servicer, loop, asyncio.Event(), problems)
        started.put(serving)
        await serving.stop.wait()
        await server.stop(1.0)

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    serving = started.get(timeout=30)
    try:
        yield serving
    finally:
        serving.loop.call_soon_threadsafe(serving.stop.set)
        thread.join(timeout=30)
        assert not thread.is_alive(), "the server did not stop"
    assert serving.problems == []


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """``with serve([interceptors]) as serving``: the stand-in on a free port."""
    return run


@pytest.fixture(scope="session")
def echo() -> type[Echo]:
    return Echo


def call_each(channel: grpc.Channel, metadata: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The status of one good call of each kind, and of a probe, by name."""
    stub = SpeechStub(channel)
    one_to_many = channel.unary_stream(
        ONE_TO_MANY,
        request_serializer=pb.GetModelRequest.SerializeToString,
        response_deserializer=pb.GetModelResponse.FromString,
    )
    many = [pb.TranscribeStreamRequest(audio_content=b"x")] * 2
    chunks = [pb.TranscribeChunksRequest(audio_content=b"x")] * 2
    more = {"timeout": 20, "metadata": tuple(metadata)}
    calls: dict[str, Callable[[], Any]] = {
        "one to one": lambda: stub.Transcribe(pb.TranscribeRequest(), **more),
        "many to one": lambda: stub.TranscribeChunks(iter(chunks), **more),
        "one to many": lambda: len(list(one_to_many(pb.GetModelRequest(name="m"), **more))),
        "many to many": lambda: len(list(stub.TranscribeStream(iter(many), **more))),
        "health": lambda: HealthStub(channel).Check(HealthCheckRequest(), **more),
    }
    return {name: outcome(call) for name, call in calls.items()}


def outcome(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """The status and its message; the right number of answers is a part of OK."""
    try:
        answers = call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    assert answers == 2 or not isinstance(answers, int)
    return grpc.StatusCode.OK, ""


@pytest.fixture(scope="session")
def each_kind() -> Callable[..., dict[str, Any]]:
    return call_each


@pytest.fixture(scope="session")
def status_of() -> Callable[..., tuple[grpc.StatusCode, str]]:
    return outcome


@pytest.fixture
def own_logging() -> Iterator[None]:
    """The root logger may be set up and is as before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)
