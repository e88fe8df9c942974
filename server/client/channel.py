"""How a client reaches its server: address, TLS, token, keepalive, load balancing."""

from __future__ import annotations

import json
import os
import re
import ssl
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc

from server.addresses import AddressError, dialled, is_this_machine
from server.client.errors import ClientError
from server.client.retries import RetryPolicy
from server.limits import DEFAULT_PORT, MESSAGE_LIMIT, REQUEST_ID_CHARACTERS

__all__ = ["DEFAULT_ADDRESS", "Connection", "Security", "name_call", "read_token"]

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"

# The largest message, and room for its frame: a call stays repeatable until it is answered.
RETRY_BUFFER_BYTES = MESSAGE_LIMIT + 64 * 1024

# More often, a server of gRPC that was not told otherwise would take the pings for an attack and
# hang up; less often, routers on the way would have forgotten the connection.
KEEPALIVE_MS = 300_000
KEEPALIVE_TIMEOUT_MS = 20_000

# gRPC's own pauses between two attempts to connect grow to two minutes, and until the next attempt
# every call fails although the server is back.
LONGEST_RECONNECT_PAUSE_MS = 5_000

Path = str | os.PathLike[str]
Options = list[tuple[str, Any]]


@dataclass(frozen=True)
class Security:
    """Who the server has to be, and who is asking.

    Args:
        tls: encrypt, and hold the server's certificate to the public authorities.
        ca: PEM file of the authorities to hold it to instead; implies ``tls``.
        certificate, key: PEM files of the client's own certificate chain and its private key,
            without a password, for servers that want one (mutual TLS); imply ``tls``.
        token: a bearer token, sent with each call.
        token_over_plaintext: send the token without TLS to another machine as well. Whoever is on
            the way can read it.
    """

    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_over_plaintext: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ClientError(
                "a client certificate and its key belong together "
                "(give both --tls-certificate and --tls-key)"
            )
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token):
            raise ClientError("the token is empty, or not one word of printable ASCII")

    @property
    def encrypted(self) -> bool:
        """True if the connection uses TLS."""
        return self.tls or self.ca is not None or self.certificate is not None


def read_token(path: Path) -> str:
    """The bearer token that the file ``path`` holds, without white space around it.

    Raises:
        ClientError: the file cannot be read.
    """
    return _read(path, "token").decode("utf-8-sig", "replace").strip()


def name_call(request_id: str | None) -> str:
    """``request_id``, or a new name for a call.

    Raises:
        ClientError: the server would not take it for a name.
    """
    if request_id is None:
        return uuid.uuid4().hex
    if not re.fullmatch(rf"[A-Za-z0-9._:-]{{1,{REQUEST_ID_CHARACTERS}}}", request_id):
        raise ClientError(
            f"{request_id!r} cannot name a call "
            f"(give up to {REQUEST_ID_CHARACTERS} of the letters, digits and -_.:)"
        )
    return request_id


@dataclass(frozen=True)
class Connection:
    """Makes channels to ``address``, for the sync and the asyncio client alike.

    ``address`` is host:port, a Unix socket (``unix:PATH``) or any target of gRPC; without a port it
    is that of asr-server. The calls to a ``dns:///`` target go round all addresses that its name
    has; others to the first that answers.

    Raises:
        ClientError: the address is none, or the token would be sent unprotected.
    """

    address: str
    security: Security
    policy: RetryPolicy

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "address", dialled(self.address))
        except AddressError as error:
            raise ClientError(str(error)) from None
        safe = self.security.encrypted or self.security.token_over_plaintext
        if self.security.token is not None and not safe and not is_this_machine(self.address):
            raise ClientError(
                f"the token is not sent to {self.address} without TLS, for anyone on the way could "
                f"read it (give --tls or --tls-ca; or --token-over-plaintext if the way is safe)"
            )

    def options(self, *, retrying: bool) -> Options:
        """The channel's arguments; ``retrying``: gRPC repeats calls by the policy.

        Without it gRPC repeats nothing, not even what it calls transparently.
        """
        config = self.policy.service_config() if retrying else {}
        if self.address.startswith("dns:"):
            config["loadBalancingConfig"] = [{"round_robin": {}}]
        options: Options = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.enable_retries", int(retrying and self.policy.retries > 0)),
            ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_PAUSE_MS),
        ]
        if is_this_machine(self.address):
            # Else gRPC sends even these through the proxy that the environment names.
            options.append(("grpc.enable_http_proxy", 0))
        return options

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS, with the token for each call; None: a connection in plaintext.

        Raises:
            ClientError: a file cannot be read, or does not hold what it should.
        """
        security = self.security
        if not security.encrypted:
            return None
        ca = None if security.ca is None else _read_authorities(security.ca)
        key = chain = None
        if security.certificate is not None and security.key is not None:
            chain, key = _read_pair(security.certificate, security.key)
        credentials = grpc.ssl_channel_credentials(ca, key, chain)
        if security.token is None:
            return credentials
        return grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(security.token)
        )

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """What goes with a call."""
        metadata = [("x-request-id", request_id)]
        if self.security.token is not None and not self.security.encrypted:
            metadata.append(("authorization", f"Bearer {self.security.token}"))
        return tuple(metadata)


def _read(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ClientError(f"{path}: the {what} cannot be read: {error.strerror or error}") from None


def _read_authorities(path: Path) -> bytes:
    """gRPC would say of a bad file only, at the first call, that something failed."""
    pem = _read(path, "certificate of the authority")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ClientError(f"{path}: this holds no certificates in PEM (check --tls-ca)") from None
    return pem


def _read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    pair = _read(certificate, "client certificate"), _read(key, "client key")

    def no_password() -> str:
        raise ClientError(f"{key}: the key has a password (write it without one)")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, ValueError) as error:
        mismatch = "MISMATCH" in str(error)
        raise ClientError(
            f"{key}: the key is not that of {certificate}"
            if mismatch
            else f"{certificate}, {key}: these are not a certificate and its key in PEM"
        ) from None
    return pair
