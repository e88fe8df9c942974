"""Who is trusted, who is asked for, and when a token may be sent."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from server.addresses import is_this_machine
from server.client import Client, ClientError, Security, read_token
from server.client.channel import Connection
from server.client.retries import RetryPolicy

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


@dataclass
class Identity:
    """A certificate and its key, in memory and as PEM files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    folder: Path

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        locked = serialization.BestAvailableEncryption(password) if password else None
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            locked or serialization.NoEncryption(),
        )

    def write(self, name: str) -> tuple[Path, Path]:
        """Its files: certificate, key."""
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(self.pem)
        paths[1].write_bytes(self.key_pem())
        return paths


def issue(
    folder: Path, name: str, issuer: Identity | None = None, *, days: tuple[int, int] = (-1, 1)
) -> Identity:
    """An authority, or, by an ``issuer``, a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Identity(certificate, key, folder)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return issue(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return issue(tmp_path_factory.mktemp("tls"), "stranger")


@pytest.fixture(scope="module")
def ca(authority):
    return authority.write("ca")[0]


@pytest.fixture(scope="module")
def pair(authority):
    """The client's certificate and key."""
    return issue(authority.folder, "client", authority).write("client")


def server_credentials(authority, *, mutual=False, days=(-1, 1)):
    server = issue(authority.folder, "server", authority, days=days)
    root = authority.pem if mutual else None
    return grpc.ssl_server_credentials([(server.key_pem(), server.pem)], root, mutual)


@pytest.fixture
def over_tls(serve_fake, authority):
    return serve_fake(server_credentials(authority))


@pytest.fixture
def over_mutual_tls(serve_fake, authority):
    return serve_fake(server_credentials(authority, mutual=True))


def refusal(address: str, security: Security) -> str:
    """What the client says of a server that it cannot call."""
    with (
        Client(address, security=security, retries=0) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.list_models()
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_is_trusted_by_its_authority(over_tls, ca):
    with Client(over_tls.address, security=Security(ca=ca)) as client:
        assert client.transcribe(b"four").text == "4 bytes"
        assert next(client.stream([b"four"])).text == "4 bytes"


def test_a_server_of_another_authority_is_not(over_tls, stranger):
    other = stranger.write("other")[0]
    for security in (Security(ca=other), Security(tls=True)):
        told = refusal(over_tls.address, security)
        assert "the TLS handshake" in told
        assert "unable to get local issuer certificate" in told
        assert "--tls-ca" in told
    assert over_tls.heard == []


def test_a_certificate_has_its_time(serve_fake, authority, ca):
    fake = serve_fake(server_credentials(authority, days=(-3, -1)))
    assert "certificate has expired" in refusal(fake.address, Security(ca=ca))


def test_a_certificate_has_its_place(over_tls, ca):
    """It names 127.0.0.1, and not localhost."""
    told = refusal(f"localhost:{over_tls.port}", Security(ca=ca))
    assert f"the certificate of localhost:{over_tls.port} is for another name" in told


def test_either_side_alone_with_tls_is_told_so(over_tls, fake, ca):
    assert "whether it wants TLS (--tls-ca)" in refusal(over_tls.address, Security())
    assert "does not speak TLS" in refusal(fake.address, Security(ca=ca))


def test_a_client_shows_its_certificate(over_mutual_tls, ca, pair):
    certificate, key = pair
    security = Security(ca=ca, certificate=certificate, key=key)
    with Client(over_mutual_tls.address, security=security) as client:
        assert client.transcribe(b"four").text == "4 bytes"


def test_a_client_without_the_certificate_asked_for_is_told_so(over_mutual_tls, ca, stranger):
    assert "(--tls-certificate)" in refusal(over_mutual_tls.address, Security(ca=ca))
    certificate, key = issue(stranger.folder, "client", stranger).write("client")
    security = Security(ca=ca, certificate=certificate, key=key)
    assert "(--tls-certificate)" in refusal(over_mutual_tls.address, security)
    assert over_mutual_tls.heard == []


def test_files_that_are_none_of_that_are_named(authority, stranger, ca, pair, tmp_path):
    certificate, key = pair
    rubbish, locked = tmp_path / "rubbish", tmp_path / "locked"
    rubbish.write_bytes(b"\xff not PEM")
    locked.write_bytes(authority.key_pem(b"secret"))
    other_key = stranger.write("other")[1]
    for security, told in [
        (Security(ca=rubbish), f"{rubbish}: this holds no certificates"),
        (Security(ca=tmp_path / "none"), "none: the certificate of the authority cannot be read"),
        (Security(certificate=rubbish, key=key), "not a certificate and its key"),
        (Security(certificate=certificate, key=rubbish), "not a certificate and its key"),
        (Security(certificate=certificate, key=other_key), f"{other_key}: the key is not that of"),
        (Security(certificate=ca, key=locked), f"{locked}: the key has a password"),
        (Security(certificate=certificate, key=tmp_path / "none"), "none: the client key"),
    ]:
        with pytest.raises(ClientError) as caught:
            Client(security=security)
        assert told in str(caught.value)
    with pytest.raises(ClientError, match="belong together"):
        Security(certificate=certificate)


# Tokens


def sent_token(fake) -> str | None:
    return fake.heard[-1].metadata.get("authorization")


def test_a_token_goes_with_every_call_over_tls(over_tls, ca):
    with Client(over_tls.address, security=Security(ca=ca, token="sesame")) as client:
        client.transcribe(b"")
        client.transcribe(bytes(5_000_000))
        list(client.stream([b""]))
        client.list_models()
        client.get_model()
    assert [heard.metadata["authorization"] for heard in over_tls.heard] == ["Bearer sesame"] * 5
    connection = Connection("asr.example:1", Security(ca=ca, token="sesame"), RetryPolicy())
    assert connection.metadata("name") == (("x-request-id", "name"),), "gRPC adds the token"


def test_a_token_goes_in_plaintext_to_this_machine_alone(fake):
    with Client(fake.address, security=Security(token="sesame")) as client:
        client.transcribe(b"")
        assert sent_token(fake) == "Bearer sesame"
        list(client.stream([b""]))
        assert sent_token(fake) == "Bearer sesame"


def test_without_a_token_there_is_none(fake):
    with Client(fake.address) as client:
        client.transcribe(b"")
    assert sent_token(fake) is None


@pytest.mark.parametrize("address", ["192.0.2.1:50051", "dns:///asr.example:50051", "asr:50051"])
def test_a_token_is_not_sent_in_plaintext_elsewhere(address):
    with pytest.raises(ClientError, match="without TLS") as caught:
        Client(address, security=Security(token="sesame"))
    assert "sesame" not in str(caught.value)
    Client(address, security=Security(token="sesame", tls=True)).close()
    Client(address, security=Security(token="sesame", token_over_plaintext=True)).close()


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("localhost:50051", True),
        ("LOCALHOST", True),
        ("127.0.0.1:50051", True),
        ("127.8.9.10:1", True),
        ("[::1]:50051", True),
        ("::1", True),
        ("unix:/run/asr.sock", True),
        ("unix-abstract:asr", True),
        ("dns:///localhost:50051", True),
        ("dns:localhost:50051", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv6:[::1]:1,[::1]:2", True),
        ("ipv4:127.0.0.1:1,192.0.2.1:1", False),
        ("dns://127.0.0.1/asr.example:1", False),
        ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
        ("asr.example", False),
        ("[2001:db8::1]:1", False),
        ("2001:db8::1", False),
        ("0.0.0.0:1", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machine(address, here):
    assert is_this_machine(address) == here


def test_a_token_is_one_word_from_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("  sesame\r\n")
    assert read_token(file) == "sesame"
    with pytest.raises(ClientError, match="cannot be read"):
        read_token(tmp_path / "none")
    for text in ("", "two words", "two\nlines", "ümlaut"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ClientError, match="one word of printable ASCII"):
            Security(token=read_token(file))


def test_a_token_is_not_shown():
    assert "sesame" not in repr(Security(token="sesame"))


# What the channel is told


def options(address: str, *, retrying: bool = True) -> dict[str, object]:
    return dict(Connection(address, Security(), RetryPolicy()).options(retrying=retrying))


def test_the_addresses_of_a_dns_name_are_taken_in_turns():
    assert '"round_robin"' in str(options("dns:///asr.example:1")["grpc.service_config"])
    assert '"round_robin"' in str(
        options("dns:///asr.example:1", retrying=False)["grpc.service_config"]
    )
    assert "round_robin" not in str(options("asr.example:1")["grpc.service_config"])


def test_calls_to_a_dns_target_are_made(fake):
    with Client(f"dns:///localhost:{fake.port}") as client:
        assert client.transcribe(b"four").text == "4 bytes"


def test_a_proxy_is_not_asked_for_this_machine(fake, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with Client(fake.address, retries=0) as client:
        assert client.transcribe(b"four").text == "4 bytes"
    assert "grpc.enable_http_proxy" not in options("asr.example:1")
