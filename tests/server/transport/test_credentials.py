"""Who is let in over TLS, and that a renewed certificate needs no restart."""

from __future__ import annotations

import logging
import os

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from asr.types import ConfigError
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.transport.credentials import TlsFiles, check_exposure, server_credentials

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def ours(authority):
    return authority("ours")


@pytest.fixture
def files(ours, tmp_path) -> TlsFiles:
    return TlsFiles(*ours.issue().write(tmp_path, "server"))


@pytest.fixture
def mutual(files, ours, tmp_path) -> TlsFiles:
    clients = tmp_path / "clients.pem"
    clients.write_bytes(ours.certificate)
    return TlsFiles(files.certificate, files.key, clients)


@pytest.fixture
def ask(status_of):
    """The status of one call over a connection of its own; None is a client without TLS."""

    def call(serving, credentials):
        with serving.connect(credentials) as channel:
            return status_of(lambda: SpeechStub(channel).GetModel(pb.GetModelRequest(), timeout=20))

    return call


def credentials_of(authority, pair=None) -> grpc.ChannelCredentials:
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate, key, certificate)


def test_tls_serves_those_who_trust_the_certificate(serve, files, ours, authority, ask):
    with serve(credentials=server_credentials(files)) as serving:
        assert ask(serving, credentials_of(ours)) == (OK, "")
        assert ask(serving, credentials_of(authority("another")))[0] == UNAVAILABLE
        assert ask(serving, None)[0] == UNAVAILABLE, "plain text"
        assert ask(serving, credentials_of(ours)) == (OK, ""), "and the server lives"


def test_mtls_serves_clients_with_a_valid_certificate_alone(serve, mutual, ours, authority, ask):
    clients = {
        "valid": ours.issue(),
        "none": None,
        "of another authority": authority("ours").issue(),  # of the same name, not the same key
        "expired": ours.issue(days=-1),
    }
    with serve(credentials=server_credentials(mutual)) as serving:
        statuses = {
            name: ask(serving, credentials_of(ours, pair))[0] for name, pair in clients.items()
        }
        assert statuses == dict.fromkeys(clients, UNAVAILABLE) | {"valid": OK}
        assert len(serving.servicer.seen) == 1
        assert ask(serving, credentials_of(ours, clients["valid"])) == (OK, "")


def test_a_renewed_certificate_serves_new_connections(serve, files, ours, authority, ask, caplog):
    """As it happens: first the certificate, then the key. Between the two the old pair stays."""
    new = authority("new")
    pair = new.issue()
    with (
        serve(credentials=server_credentials(files)) as serving,
        serving.connect(credentials_of(ours)) as channel,
    ):
        old = SpeechStub(channel)
        old.GetModel(pb.GetModelRequest(), timeout=20)
        files.certificate.write_bytes(pair.certificate)
        for _ in range(2):
            assert ask(serving, credentials_of(ours)) == (OK, "")
            assert ask(serving, credentials_of(new))[0] == UNAVAILABLE
        complaints = [line for line in caplog.messages if "the old ones stay" in line]
        assert len(complaints) == 1
        assert "the key is not the certificate's" in complaints[0]
        files.key.write_bytes(pair.key)
        assert ask(serving, credentials_of(new)) == (OK, "")
        assert ask(serving, credentials_of(ours))[0] == UNAVAILABLE
        old.GetModel(pb.GetModelRequest(), timeout=20)  # the connection that was there


def test_a_renewed_client_authority_holds_for_new_connections(serve, mutual, ours, authority, ask):
    new = authority("new")
    with serve(credentials=server_credentials(mutual)) as serving:
        assert ask(serving, credentials_of(ours, ours.issue())) == (OK, "")
        mutual.client_ca.write_bytes(new.certificate)
        assert ask(serving, credentials_of(ours, new.issue())) == (OK, "")
        assert ask(serving, credentials_of(ours, ours.issue()))[0] == UNAVAILABLE


@pytest.mark.parametrize("damage", ["removed", "emptied", "rubbish"])
def test_broken_files_leave_the_old_ones_in_use(serve, files, ours, ask, caplog, damage):
    with serve(credentials=server_credentials(files)) as serving:
        if damage == "removed":
            files.key.unlink()
        else:
            files.key.write_bytes(b"rubbish" if damage == "rubbish" else b"")
        assert ask(serving, credentials_of(ours)) == (OK, "")
        assert ask(serving, credentials_of(ours)) == (OK, "")
    assert sum("the old ones stay" in line for line in caplog.messages) == 1


def broken(tmp_path, ours, authority, to_pem) -> dict[str, tuple[TlsFiles, str]]:
    """Files that cannot be used, and what the message has to say."""
    pair = ours.issue()
    certificate, key = pair.write(tmp_path, "good")
    _, other = ours.issue().write(tmp_path, "other")
    expired = ours.issue(days=-1).write(tmp_path, "expired")
    early = ours.issue(days=400, begins=200).write(tmp_path, "early")
    rubbish, locked, leaf = (tmp_path / name for name in ("rubbish", "locked", "old"))
    rubbish.write_bytes(b"\x00rubbish")
    locked.write_bytes(to_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    leaf.write_bytes(authority("old", days=-1).certificate)
    return {
        "missing": (TlsFiles(tmp_path / "none", key), "No such file"),
        "a folder": (TlsFiles(tmp_path, key), "Is a directory"),
        "not PEM": (TlsFiles(rubbish, key), "no PEM certificate"),
        "key not PEM": (TlsFiles(certificate, rubbish), "no PEM certificate"),
        "another key": (TlsFiles(certificate, other), "the key is not the certificate's"),
        "a passphrase": (TlsFiles(certificate, locked), "without a passphrase"),
        "expired": (TlsFiles(*expired), "has expired"),
        "not yet valid": (TlsFiles(*early), "is not valid yet"),
        "no authorities": (TlsFiles(certificate, key, rubbish), "no PEM certificates"),
        "no authority": (TlsFiles(certificate, key, certificate), "no authority among them"),
        "an expired authority": (TlsFiles(certificate, key, leaf), "every authority has expired"),
    }


def test_files_that_cannot_be_used_are_refused_at_the_start(tmp_path, ours, authority, to_pem):
    for files, what in broken(tmp_path, ours, authority, to_pem).values():
        with pytest.raises(ConfigError, match=what) as caught:
            server_credentials(files)
        assert str(tmp_path) in str(caught.value.where)
        assert caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(files):
    files.key.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        server_credentials(files)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_can_read_is_warned_of(files, caplog, mode, warned):
    files.key.chmod(mode)
    with caplog.at_level(logging.WARNING):
        server_credentials(files)
    assert any("read by others" in line for line in caplog.messages) == warned


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")],
        *[(host, False) for host in ("0.0.0.0", "::", "192.168.1.2", "speech.example.org", "")],
    ],
)
def test_plain_text_stays_on_this_machine_unless_allowed(host, loopback):
    check_exposure(host, encrypted=True, allowed=False)
    check_exposure(host, encrypted=False, allowed=True)
    if loopback:
        check_exposure(host, encrypted=False, allowed=False)
    else:
        with pytest.raises(ConfigError, match="without encryption"):
            check_exposure(host, encrypted=False, allowed=False)
