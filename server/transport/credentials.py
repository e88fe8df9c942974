"""TLS for the port: certificate, key and the clients' authorities, read again when they change."""

from __future__ import annotations

import logging
import ssl
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from asr.types import ConfigError
from server.addresses import is_loopback

__all__ = ["TlsFiles", "check_exposure", "check_files", "server_credentials"]

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]  # changes when a file does

EXPIRED, NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED and _NOT_YET_VALID of OpenSSL


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the certificate with its chain, its key without a passphrase, and, if clients have
    to show certificates (mTLS), the authorities that may have signed them."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """The files that there are."""
        given = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in given if path is not None)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials for ``add_secure_port``. With ``client_ca``, clients need certificates (mTLS).

    Each new connection looks whether the files changed and takes them up if they can be used;
    otherwise the server stays with those it has, and says so in the log. Connections that exist are
    left alone.

    Raises:
        ConfigError: a file is missing, unreadable or not PEM, the key is not the certificate's or
            has a passphrase, or a certificate is not valid at this time.
    """
    source = _Source(files)
    return grpc.dynamic_ssl_server_credentials(
        source.first,
        source.changed,  # type: ignore[arg-type]  # None is "no change"
        require_client_authentication=files.client_ca is not None,
    )


def check_files(files: TlsFiles) -> None:
    """Hold the files to what a server needs: a pair that is valid now, and authorities.

    Raises:
        ConfigError: see :func:`server_credentials`.
    """
    for path in files.paths():
        _read_bytes(path)
    _check_pair(files)
    if files.client_ca is not None:
        _check_authorities(files.client_ca)
    if files.key.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("%s can be read by others than its owner: chmod 600 it", files.key)


def check_exposure(host: str, *, encrypted: bool, allowed: bool) -> None:
    """Refuse to be open to other machines in plain text, unless that is ``allowed``.

    Raises:
        ConfigError: ``host`` is not of this machine alone, and neither holds.
    """
    if not (encrypted or allowed or is_loopback(host)):
        raise ConfigError(
            "the server would be open to other machines without encryption",
            where=host,
            remedy="give --tls-certificate and --tls-key, listen on 127.0.0.1, or, where something "
            "in front of the server encrypts, --insecure",
        )


class _Source:
    """The files as gRPC wants them, read again when they change."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()  # gRPC asks in threads of its own
        self._stamp = _stamp(files)
        self.first = _read(files)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration, or None if the one in use stays. Never raises."""
        with self._lock:
            try:
                stamp = _stamp(self._files)
                if stamp == self._stamp:
                    return None
                configuration = _read(self._files)
                if stamp != _stamp(self._files):
                    return None  # changed while they were read: the next connection sees them whole
                self._stamp = stamp
                log.info("TLS files changed: new connections use them")
                return configuration
            except ConfigError as error:
                self._refused(stamp, error)
            except OSError as error:  # one went away while they were read
                log.warning("TLS files changed, but are not whole; the old ones stay: %s", error)
            return None

    def _refused(self, stamp: Stamp, error: ConfigError) -> None:
        self._stamp = stamp  # complain once about each change
        log.error("TLS files changed, but cannot be used; the old ones stay: %s", error)


def _stamp(files: TlsFiles) -> Stamp:
    return tuple(_stamp_of(path) for path in files.paths())


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        now = path.stat()
    except OSError:
        return (0, 0, 0)
    return (now.st_mtime_ns, now.st_size, now.st_ino)


def _read(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """Check the files as OpenSSL reads them, and give their bytes to gRPC."""
    contents = [_read_bytes(path) for path in files.paths()]
    certificate, key, *client_ca = contents
    check_files(files)
    return grpc.ssl_server_certificate_configuration(
        [(key, certificate)], root_certificates=client_ca[0] if client_ca else None
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            remedy="give a PEM file that the server's user may read",
        ) from None


def _check_pair(files: TlsFiles) -> None:
    """A certificate and its key, with which a client can be served now."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # gRPC cannot ask for a passphrase, and nobody would answer.
        server.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None)
        mismatch = reason == "KEY_VALUES_MISMATCH"
        raise ConfigError(
            "the key is not the certificate's"
            if mismatch
            else f"no PEM certificate with a key without a passphrase ({reason or error})",
            where=f"{files.certificate} and {files.key}",
            remedy="give the two files that were made together",
        ) from None
    _check_handshake(server, files.certificate)


def _check_handshake(server: ssl.SSLContext, certificate: Path) -> None:
    """Greet the server as a client that trusts this very certificate: is it valid at this time?"""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # whatever its name is
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    try:
        for side in (*sides, *sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        what = {EXPIRED: "has expired", NOT_YET_VALID: "is not valid yet"}
        raise ConfigError(
            f"the certificate {what.get(error.verify_code, f'fails: {error.verify_message}')}",
            where=str(certificate),
            remedy="renew it; and is the clock right?",
        ) from None
    except ssl.SSLError as error:
        raise ConfigError(
            f"no client could be served with the certificate: {error.reason}",
            where=str(certificate),
            remedy="make one with an RSA key of 2048 bits or an EC key of P-256",
        ) from None


def _check_authorities(path: Path) -> None:
    """At least one authority, valid at this time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(
            f"no PEM certificates ({error.reason})",
            where=str(path),
            remedy="give the certificates of the authorities that sign for clients",
        ) from None
    now = time.time()
    ends = [ssl.cert_time_to_seconds(str(one["notAfter"])) for one in context.get_ca_certs()]
    if not any(end > now for end in ends):
        raise ConfigError(
            "every authority has expired" if ends else "there is no authority among them",
            where=str(path),
            remedy="give the certificates of the authorities that sign for clients",
        )
