"""Addresses as people write them: dialled and listened on, or refused with the remedy."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import grpc
import pytest

from asr.types import ConfigError
from server.addresses import AddressError, dialled, listening
from server.client import AsyncClient, Client, ClientError
from server.client_cli.main import main as client_main
from server.lifecycle import Signals, serve
from server.options import ListenOptions, ServerOptions
from server.pb.v1 import speech_pb2 as pb
from server.probe import main as probe
from server.telemetry.metrics import Metrics
from server.telemetry.metrics_http import MetricsServer

GOOD = {
    "127.0.0.1": "127.0.0.1:50051",
    "127.0.0.1:52016": "127.0.0.1:52016",
    "localhost": "localhost:50051",
    "asr.example:1": "asr.example:1",
    "asr.example:65535": "asr.example:65535",
    "::1": "[::1]:50051",
    "[::1]": "[::1]:50051",
    "[::1]:7": "[::1]:7",
    "[fe80::1%eth0]:7": "[fe80::1%eth0]:7",
    "unix:/run/asr.sock": "unix:/run/asr.sock",
    "unix:///run/asr.sock": "unix:///run/asr.sock",
    "unix-abstract:asr": "unix-abstract:asr",
    "dns:///asr.example": "dns:///asr.example:50051",
    "dns:///asr.example:1": "dns:///asr.example:1",
    "dns://8.8.8.8/asr.example": "dns://8.8.8.8/asr.example:50051",
    "dns:asr.example": "dns:asr.example:50051",
    "dns:50052": "dns:///dns:50052",
    "ipv4:127.0.0.1,127.0.0.2:2": "ipv4:127.0.0.1:50051,127.0.0.2:2",
    "ipv6:[::1]": "ipv6:[::1]:50051",
}
# What the message has to contain.
BAD = {
    "http://localhost:50051": "is a URL (give localhost:50051 instead)",
    "http://localhost:50051/asr": "give localhost:50051 instead",
    "https://asr.example": "give asr.example and TLS instead",
    "grpc://asr.example:1": "is a URL",
    "tcp://asr.example:1": "is a URL",
    "127.0.0.1:99999": "port from 1 to 65535",
    "127.0.0.1:0": "port from 1 to 65535",
    "127.0.0.1:-1": "port from 1 to 65535",
    "127.0.0.1:": "port from 1 to 65535",
    "localhost:http": "port from 1 to 65535",
    "localhost:５０": "port from 1 to 65535",
    "dns:///asr.example:99999": "port from 1 to 65535",
    "ipv4:127.0.0.1:1,127.0.0.2:99999": "port from 1 to 65535",
    "[::1]:99999": "port from 1 to 65535",
    ":99999": "port from 1 to 65535",
    ":50051": "has no host (give host:port, for one 127.0.0.1:50051)",
    "": "has no host",
    "[]:1": "is no address",
    "[::1": "is no address",
    "[127.0.0.1.5]:1": "is no address",
    "local host:1": "is no address",
    "localhost/asr": "is no address",
    "user@localhost:1": "is no address",
    "unix:": "names no socket",
    "unix://run/asr.sock": "names no socket",
}


@pytest.mark.parametrize(("written", "target"), GOOD.items())
def test_what_is_dialled(written, target):
    assert dialled(written) == target
    assert dialled(target) == target
    with Client(written) as client:
        assert client.address == target


@pytest.mark.parametrize(("written", "message"), BAD.items())
def test_what_cannot_be_dialled_is_said_before_anything_is(written, message, capsys):
    for kind in (Client, AsyncClient):
        with pytest.raises(ClientError) as caught:
            kind(written)
        assert message in str(caught.value)
        assert caught.value.code is None
    assert client_main(["a.wav", f"--address={written}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    with pytest.raises(SystemExit) as ended:
        probe([f"--address={written}"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


HOSTS = {
    "127.0.0.1": "127.0.0.1",
    "localhost": "localhost",
    "::1": "::1",
    "[::1]": "::1",
    "unix:/run/asr.sock": "unix:/run/asr.sock",
    "unix-abstract:asr": "unix-abstract:asr",
}
NO_HOSTS = {
    "127.0.0.1:52016": "has a port in it",
    "[::1]:52016": "give ::1 alone",
    "localhost:1": "give localhost alone",
    ":1": "has a port in it",
    "http://localhost": "is a URL",
    "256.0.0.1": "is no host",
    "": "is no host",
    "[localhost]": "is no host",
    "[::1": "is no host",
    "local host": "is no host",
    "*": "is no host",
    "unix:": "names no socket",
}


@pytest.mark.parametrize(("written", "host"), HOSTS.items())
def test_where_a_server_listens_without_encryption(written, host):
    assert listening(written) == host
    assert ListenOptions(host=written).host == host
    assert ServerOptions(metrics_host=written).metrics_host == host


@pytest.mark.parametrize(("written", "message"), NO_HOSTS.items())
def test_where_no_server_listens_is_explained(written, message):
    with pytest.raises(AddressError, match="give "):
        listening(written)
    for make in (
        lambda: ListenOptions(host=written),
        lambda: ListenOptions(host=written, insecure=True),
        lambda: ServerOptions(metrics_host=written),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert message in str(caught.value)
        assert "without encryption" not in str(caught.value)
        assert caught.value.remedy


# Served


RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)


def hears(address: str) -> bool:
    async def asynchronously() -> str:
        async with AsyncClient(address) as client:
            return (await client.transcribe(bytes(32000), RAW)).text

    with Client(address) as client:
        text = client.transcribe(bytes(32000), RAW).text
        models = client.list_models()
    return bool(text and models) and asyncio.run(asynchronously()) == text


@pytest.fixture
def place(tmp_path_factory) -> Path:
    """Short, as the names of sockets have to be."""
    return tmp_path_factory.mktemp("s") / "asr.sock"


def test_a_unix_socket_is_served_and_gone_after_the_stop(serving, stand_in, place):
    with serving(stand_in(), listen=ListenOptions(host=f"unix:{place}")) as running:
        assert running.address == f"unix:{place}"
        assert place.is_socket()
        assert hears(f"unix:{place}")
        assert hears(f"unix://{place}")
        assert probe(["--address", f"unix:{place}"]) == 0
    assert not place.exists()


def test_a_bracketed_ipv6_address_is_served(serving, stand_in):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(stand_in(), listen=ListenOptions(host="[::1]", port=0)) as running:
        assert running.address.startswith("[::1]:")
        assert hears(running.address)
        assert probe(["--address", running.address]) == 0


def start_at(host: str, stand_in, stand_in_source) -> None:
    source = stand_in_source({"other": stand_in()})
    options = ServerOptions(ListenOptions(host=host))
    asyncio.run(serve(source, lambda found: found, options, Signals(), print))


def test_a_socket_belongs_to_one_server(serving, stand_in, stand_in_source, place):
    with serving(stand_in(), listen=ListenOptions(host=f"unix:{place}")):
        with pytest.raises(ConfigError, match="in use"):
            start_at(f"unix:{place}", stand_in, stand_in_source)
        assert hears(f"unix:{place}")


def test_a_socket_that_nobody_listens_on_is_replaced(serving, stand_in, place):
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(place))
    assert place.is_socket()
    with serving(stand_in(), listen=ListenOptions(host=f"unix:{place}")):
        assert hears(f"unix:{place}")


def test_a_file_in_the_place_of_a_socket_is_kept(stand_in, stand_in_source, place):
    place.write_text("mine")
    with pytest.raises(ConfigError, match="in use"):
        start_at(f"unix:{place}", stand_in, stand_in_source)
    assert place.read_text() == "mine"


@pytest.mark.parametrize("path", ["/none/asr.sock", f"/tmp/{'a' * 200}"])
def test_a_socket_that_cannot_be_says_why(stand_in, stand_in_source, path):
    with pytest.raises(ConfigError, match="cannot listen there") as caught:
        start_at(f"unix:{path}", stand_in, stand_in_source)
    assert "Failed to bind" not in str(caught.value)
    assert caught.value.remedy


def test_metrics_are_served_over_tcp():
    with pytest.raises(ConfigError, match="over TCP"):
        MetricsServer(Metrics().registry, host="unix:/run/metrics.sock")


# Proxies


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_no_proxy_stands_between_the_probe_and_its_server(serving, stand_in, monkeypatch, variable):
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody is there
    with serving(stand_in()) as running:
        port = running.address.rpartition(":")[2]
        with grpc.insecure_channel(running.address) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5)
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            assert probe(["--address", f"{host}:{port}"]) == 0
        assert hears(running.address)
