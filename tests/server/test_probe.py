"""The health probe beside the health service of grpcio-health-checking, with and without TLS."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from server.probe import main

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(status: int, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    servicer = health.HealthServicer()
    servicer.set("", status)
    server = grpc.server(ThreadPoolExecutor(1))
    add_HealthServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (HealthCheckResponse.SERVING, 0),
        (HealthCheckResponse.NOT_SERVING, 1),
        (HealthCheckResponse.UNKNOWN, 1),
    ],
)
def test_the_exit_status_is_the_servers(status, code, capsys):
    with serving(status) as address:
        assert main(["--address", address]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("unhealthy" in err) == (code == 1)


@pytest.mark.parametrize(
    "options", [["--key", "a.pem"], ["--certificate", "a.pem"], ["--timeout", "1e300"]], ids=str
)
def test_options_that_cannot_work_are_refused(options, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err.splitlines()[-1]


def test_no_server_an_unknown_service_and_a_missing_file_are_one_line_each(capsys, tmp_path):
    with serving(HealthCheckResponse.SERVING) as address:
        assert main(["--address", address, "--service", "no.such"]) == 1
        assert "NOT_FOUND" in capsys.readouterr().err
        assert main(["--address", address, "--ca", str(tmp_path / "none.pem")]) == 1
        assert "none.pem" in capsys.readouterr().err
    assert main(["--address", address]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"unhealthy: {address}: UNAVAILABLE")


def test_a_server_that_does_not_answer_is_given_up_in_time(capsys):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert main(["--address", address, "--timeout", "0.2"]) == 1
    assert "DEADLINE_EXCEEDED" in capsys.readouterr().err


def test_the_environment_adds_options(monkeypatch, capsys):
    with serving(HealthCheckResponse.SERVING) as address:
        monkeypatch.setenv("ASR_PROBE", f"--address {address}")
        assert main([]) == 0
        monkeypatch.setenv("ASR_PROBE", "--address 127.0.0.1:1")
        assert main(["--address", address]) == 0, "arguments win"
        monkeypatch.setenv("ASR_PROBE", "'")
        assert main([]) == 1


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "probe")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("pems")
    (folder / "crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"crt": folder / "crt", "key": folder / "key"}


@pytest.mark.parametrize("client_certificates", [False, True])
def test_tls_needs_the_authority_and_where_asked_a_certificate(pems, client_certificates):
    crt, key = pems["crt"].read_bytes(), pems["key"].read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(key, crt)], crt if client_certificates else None, client_certificates
    )
    own = ["--certificate", str(pems["crt"]), "--key", str(pems["key"])]
    with serving(HealthCheckResponse.SERVING, credentials) as address:
        trusting = ["--address", address, "--ca", str(pems["crt"])]
        assert main([*trusting, *own]) == 0
        assert main(trusting) == int(client_certificates)
        assert main(["--address", address, "--timeout", "1"]) == 1


def test_it_does_not_load_what_is_slow():
    code = "import sys, server.probe; print({'torch', 'numpy', 'asr'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
