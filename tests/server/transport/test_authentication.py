"""Bearer tokens: who has one is served, whoever has none is told so and nothing more."""

from __future__ import annotations

import logging
from queue import Queue

import grpc
import pytest

from asr.types import ConfigError
from server.pb.v1 import speech_pb2 as pb
from server.transport import authentication
from server.transport.authentication import Authentication, Tokens

FIRST, SECOND = "first-token-0123456789", "second:token/with=marks#+~!"
OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
MISSING = "a bearer token is missing: send `authorization: Bearer TOKEN`"
WRONG = "the bearer token is wrong"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    path.write_text(f"# of the archive\n{FIRST}\n\n  {SECOND}  \n")
    return path


def bearer(token: str, scheme: str = "Bearer") -> list[tuple[str, str]]:
    return [("authorization", f"{scheme} {token}")]


@pytest.mark.parametrize(
    "metadata",
    [
        *(bearer(FIRST), bearer(SECOND), bearer(FIRST, "bearer"), bearer(FIRST, "BEARER")),
        bearer(f" {FIRST}"),
    ],
)
def test_a_right_token_opens_every_kind_of_method(serve, each_kind, path, metadata):
    with serve([Authentication(Tokens.load(path))]) as serving, serving.connect() as channel:
        assert set(each_kind(channel, metadata).values()) == {(OK, "")}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], MISSING),
        ([("x-authorization", f"Bearer {FIRST}")], MISSING),
        (bearer(""), WRONG),
        (bearer(FIRST[:-1]), WRONG),
        (bearer(f"{FIRST}0"), WRONG),
        (bearer(FIRST.upper()), WRONG),
        (bearer(f"{FIRST} {SECOND}"), WRONG),
        (bearer("# of the archive"), WRONG),
        (bearer("x" * 7000), WRONG),
        (bearer(FIRST, "Basic"), WRONG),
        ([("authorization", FIRST)], WRONG),
        (bearer(FIRST) + bearer("another-token-0123456789"), WRONG),
        (bearer(FIRST) + bearer(FIRST), WRONG),
    ],
)
def test_no_or_a_wrong_token_opens_nothing_but_health(serve, each_kind, path, metadata, message):
    with serve([Authentication(Tokens.load(path))]) as serving, serving.connect() as channel:
        statuses = each_kind(channel, metadata)
        assert statuses.pop("health") == (OK, "")
        assert len(statuses) == 4
        assert set(statuses.values()) == {(UNAUTHENTICATED, message)}
        assert serving.servicer.seen == []


def test_which_methods_there_are_is_not_told_without_a_token(serve, path):
    with serve([Authentication(Tokens.load(path))]) as serving, serving.connect() as channel:
        for metadata, code in (
            ([], UNAUTHENTICATED),
            (bearer(FIRST), grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/asr.v1.Speech/Secret")(b"", timeout=20, metadata=metadata)
            assert caught.value.code() == code


def test_requests_are_not_awaited(serve, path):
    """The answer comes although no request was sent, and none ends the stream."""
    nothing: Queue[pb.TranscribeChunksRequest] = Queue()
    with serve([Authentication(Tokens.load(path))]) as serving, serving.connect() as channel:
        for kind in (channel.stream_unary, channel.stream_stream):
            method = "/asr.v1.Speech/GetModel"  # for the server, a method with a single request
            call = kind(method)
            answer = call.future if kind == channel.stream_unary else call
            pending = answer(iter(nothing.get, None), timeout=20)
            assert pending.code() == UNAUTHENTICATED
            nothing.put(None)


def test_every_token_is_compared(path, monkeypatch):
    """Otherwise the time of an answer tells which token it was, or that there is none."""
    compared: list[bytes] = []
    real = authentication.hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return real(left, right)

    tokens = Tokens.load(path)
    monkeypatch.setattr(authentication.hmac, "compare_digest", compare)
    for token, known in ((FIRST, True), (SECOND, True), ("neither", False), ("\udc80é", False)):
        compared.clear()
        assert (token in tokens) == known
        assert len(set(compared)) == len(tokens) == 2


def test_no_token_stands_in_memory(path):
    tokens = Tokens.load(path)
    assert FIRST not in repr(vars(tokens))
    assert SECOND not in repr(vars(tokens))


def test_a_new_file_is_taken_up_and_a_broken_one_is_not(serve, each_kind, path):
    tokens, new = Tokens.load(path), "a-token-of-today-99"
    with serve([Authentication(tokens)]) as serving, serving.connect() as channel:
        path.write_text(f"{new}\nshort\n")
        with pytest.raises(ConfigError, match="line 2"):
            tokens.reload()
        assert each_kind(channel, bearer(FIRST))["one to one"] == (OK, "")
        assert each_kind(channel, bearer(new))["one to one"] == (UNAUTHENTICATED, WRONG)
        path.write_text(f"{new}\n")
        tokens.reload()
        assert each_kind(channel, bearer(FIRST))["one to one"] == (UNAUTHENTICATED, WRONG)
        assert each_kind(channel, bearer(new))["one to one"] == (OK, "")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "there is no token"),
        (b"# one day\n\n", "there is no token"),
        (b"123456789012345\n", "line 1: a token is not 16 to 512"),
        (b"x" * 513, "line 1: a token is not 16 to 512"),
        (b"0123456789 0123456789\n", "line 1: a token is not 16 to 512"),
        (b"0123456789\x000123456789\n", "line 1: a token is not 16 to 512"),
        ("0123456789é0123456789\n".encode(), "line 1: a token is not 16 to 512"),
        ("0123456789é0123456789\n".encode("latin-1"), "line 1: not UTF-8 text"),
        (b"0123456789abcdef\n#\n0123456789abcdef\n", "line 3: the token of line 1 is there again"),
        (b"#" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_files_of_no_use_are_refused_without_showing_a_token(path, content, what):
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=what) as caught:
        Tokens.load(path)
    assert "0123456789" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_byte_order_mark_is_no_part_of_a_token(path):
    path.write_bytes(b"\xef\xbb\xbf0123456789abcdef\r\n")
    assert "0123456789abcdef" in Tokens.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        Tokens.load(tmp_path / "none")


def test_the_length_limits_are_exact(path):
    path.write_text("x" * 16 + "\n" + "y" * 512)
    assert len(Tokens.load(path)) == 2


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of(path, caplog, mode, warned):
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        Tokens.load(path)
    assert any("read by others" in line for line in caplog.messages) == warned
