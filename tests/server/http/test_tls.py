"""The gateway over TLS, and what live connections leave behind."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
pytest.importorskip("httpx2", reason="OpenAI's client is not installed")

import httpx2
from websockets.asyncio.client import ClientConnection, connect

from server.http import protocol
from server.options import ListenOptions


def test_tls_and_a_certificate_that_is_exchanged(fake, gateway_to, authority, tmp_path):
    signer = authority()
    certificate, key = signer.issue().write(tmp_path, "gateway")
    context = ssl.create_default_context(cadata=signer.certificate.decode())
    listen = ListenOptions(port=0, certificate=certificate, key=key)
    with gateway_to(fake.address, listen=listen) as gateway:
        assert gateway.url.startswith("https://")
        assert httpx2.get(f"{gateway.url}/healthz", verify=context).json() == {"status": "ok"}

        async def talk() -> None:
            async with live(gateway, context) as connection:
                assert await finish(connection) == {"text": ""}

        asyncio.run(talk())
        other = authority()
        other.issue().write(tmp_path, "gateway")
        gateway.reload()
        trusting = ssl.create_default_context(cadata=other.certificate.decode())
        while not _is_trusted(gateway.url, trusting):
            pass


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_live_connection_does_not_end_for_want_of_a_request(
    fake, gateway_to, authority, tmp_path, monkeypatch, caplog, is_secure
):
    """Nor does one that has ended leave anything behind that fails later."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 2.0)
    signer = authority()
    certificate, key = signer.issue().write(tmp_path, "gateway")
    files = {"certificate": certificate, "key": key} if is_secure else {}
    context = None
    if is_secure:
        context = ssl.create_default_context(cadata=signer.certificate.decode())

    async def talk(gateway) -> None:
        host, port = gateway.url.split("//")[1].split(":")
        async with live(gateway, context) as first:
            async with live(gateway, context) as second:
                assert await finish(second) == {"text": ""}
            silent, writer = await asyncio.open_connection(host, int(port), ssl=context)
            assert await asyncio.wait_for(silent.read(1), 30) == b""  # its time is over
            writer.close()
            assert await finish(first) == {"text": ""}

    with gateway_to(fake.address, listen=ListenOptions(port=0, **files)) as gateway:
        asyncio.run(talk(gateway))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def live(gateway, context: ssl.SSLContext | None) -> connect:
    """A live connection by the client without threads.

    Of the other one thread reads while another writes: of some hundred connections over TLS on a
    busy machine one then hangs.
    """
    return connect(gateway.socket, ssl=context)


async def finish(connection: ClientConnection) -> object:
    """End the audio of a live connection; gives the answer."""
    await connection.send('{"eof": 1}')
    return json.loads(await asyncio.wait_for(connection.recv(), 30))


def _is_trusted(url: str, context: ssl.SSLContext) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", verify=context).is_success
    except httpx2.ConnectError:
        return False
