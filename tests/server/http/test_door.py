"""What does not get through, told in the form of OpenAI: errors, keys, caps, overload."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
pytest.importorskip("httpx2", reason="OpenAI's client is not installed")

import httpx2
import openai
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from asr.types import ConfigError
from server.http import protocol
from server.http.body import BODY_BYTES
from server.options import ListenOptions

ROOT = Path(__file__).resolve().parents[3]
FILE = {"file": ("a.wav", b"1234")}
FORM = {"model": "letters"}
KEY, OTHER = "a key of sixteen characters".replace(" ", "-"), "another-key-that-is-as-good"


def post(gateway, files=FILE, data=FORM, **more):
    url = f"{gateway.url}/v1/audio/transcriptions"
    return httpx2.post(url, files=files, data=data, timeout=30, **more)


def error_of(response, status: int) -> dict:
    """The error of a response, in OpenAI's form, and of that status."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert response.headers["x-request-id"]
    return error


# Forms

FORMS = {  # files, fields, the one that is at fault, words
    "no file": ({}, {**FORM, "x": "1"}, "file", "file is missing"),
    "a file that is text": ({}, {**FORM, "file": "1234"}, "file", "file is no file"),
    "no model": (FILE, {"language": "en"}, "model", "GET /v1/models"),
    "format": (FILE, {**FORM, "response_format": "pdf"}, "response_format", "give one of json"),
    "speakers": (FILE, {**FORM, "response_format": "diarized_json"}, "response_format", "give one"),
    "temperature above": (FILE, {**FORM, "temperature": "1.1"}, "temperature", "give 0 to 1"),
    "temperature below": (FILE, {**FORM, "temperature": "-0.1"}, "temperature", "give 0 to 1"),
    "temperature, no number": (FILE, {**FORM, "temperature": "nan"}, "temperature", "give 0 to 1"),
    "language": (FILE, {**FORM, "language": "de"}, "language", "the models know 'en'"),
    "one of the languages": (
        *(FILE, {**FORM, "languages[]": ["en", "de"]}),
        *("languages", "the models know 'en'"),
    ),
    "granularities elsewhere": (
        *(FILE, {**FORM, "timestamp_granularities[]": "word"}),
        *("timestamp_granularities", "verbose_json"),
    ),
    "granularity": (
        *(FILE, {**FORM, "response_format": "verbose_json", "timestamp_granularities[]": "phone"}),
        *("timestamp_granularities", "give one of segment, word"),
    ),
    "logprobs": (FILE, {**FORM, "include[]": "logprobs"}, "include", "give one of posteriors"),
    "stream": (FILE, {**FORM, "stream": "maybe"}, "stream", "give one of true"),
    "a stream of subtitles": (
        *(FILE, {**FORM, "stream": "true", "response_format": "srt"}),
        *("stream", "cannot be streamed"),
    ),
    "twice": (FILE, {"model": ["letters", "phones"]}, "model", "2 times"),
    "unknown": (FILE, {**FORM, "speed": "2"}, "speed", "not known here"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_form_that_cannot_be_used_is_refused_before_the_server_is_asked(gateway, fake, case):
    files, fields, param, words = FORMS[case]
    # Without a file httpx sends another kind of form.
    response = post(gateway, files or {"y": (None, "1")}, fields)
    error = error_of(response, 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]
    assert fake.heard == []


def test_what_is_of_no_effect_is_taken(gateway):
    fields = {"temperature": "0.2", "language": "en-US", "chunking_strategy": "auto"}
    assert post(gateway, data={**FORM, **fields}).json()["text"] == "4 bytes"


def test_what_is_no_form(gateway):
    url = f"{gateway.url}/v1/audio/transcriptions"
    assert "multipart/form-data" in error_of(httpx2.post(url, json={}), 415)["message"]
    headers = {"content-type": "multipart/form-data"}
    assert error_of(httpx2.post(url, content=b"x", headers=headers), 400)["message"]
    assert "Method Not Allowed" in error_of(httpx2.get(url), 405)["message"]
    assert "/v1/chat" in error_of(httpx2.get(f"{gateway.url}/v1/chat"), 404)["message"]


# The server's answers

ANSWERS = {  # status of gRPC and its pushback; status, type and code of HTTP; Retry-After
    ("INVALID_ARGUMENT", None): (400, "invalid_request_error", None, None),
    ("RESOURCE_EXHAUSTED", "637"): (429, "rate_limit_error", "rate_limit_exceeded", ("1", "637")),
    ("RESOURCE_EXHAUSTED", "2500"): (429, "rate_limit_error", "rate_limit_exceeded", ("3", "2500")),
    ("RESOURCE_EXHAUSTED", None): (413, "invalid_request_error", "too_large", None),
    ("UNAVAILABLE", None): (503, "server_error", "unavailable", ("1", "1000")),
    ("DEADLINE_EXCEEDED", None): (408, "invalid_request_error", "too_slow", None),
    ("UNAUTHENTICATED", None): (502, "server_error", None, None),
    ("INTERNAL", None): (502, "server_error", None, None),
}


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_the_servers_statuses_have_their_own_in_http(
    serve_fake, gateway_to, failure, answer, stream
):
    code, pushback = answer
    status, kind, word, again = ANSWERS[answer]
    server = serve_fake(None, failure(code, "the server's words", pushback))
    with gateway_to(server.address) as gateway:
        response = post(gateway, data={"model": "phones", "stream": stream})
    error = error_of(response, status)
    assert (error["type"], error["code"]) == (kind, word)
    # What only the server's own people can mend stays in the log, and so do its addresses.
    assert (error["message"] == "the server's words") == (status < 500)
    assert server.address not in response.text
    headers = response.headers
    found = (headers.get("retry-after"), headers.get("retry-after-ms"))
    assert found == (again or (None, None))
    # Not repeated here: the client is told when it may.
    assert len(server.heard) == 1


def test_a_server_that_does_not_answer_is_not_the_clients_fault(serve_fake, gateway_to, failure):
    server = serve_fake(None, failure("DEADLINE_EXCEEDED", "Deadline Exceeded", None))
    with gateway_to(server.address) as gateway:
        error = error_of(post(gateway, data={"model": "phones"}), 504)
    assert (error["type"], error["code"]) == ("server_error", "timeout")


def test_a_client_that_obeys_gets_its_answer(serve_fake, gateway_to, failure):
    full = failure("RESOURCE_EXHAUSTED", "as many as it can take", "50")
    server = serve_fake(None, full, full)
    with (
        gateway_to(server.address) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=2) as client,
    ):
        said = client.audio.transcriptions.create(file=FILE["file"], model="letters")
    assert said.text == "4 bytes"
    assert server.methods == ["Transcribe"] * 3


def test_an_error_amid_the_events_is_the_last_of_them(serve_fake, gateway_to, failure):
    """The first result of a live stream has come by then, and with it the status 200."""

    def fail(audio: bytes) -> None:
        if len(audio) > 300_000:
            raise RuntimeError("in the middle")

    server = serve_fake(hook=fail)
    with (
        gateway_to(server.address) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        events = client.audio.transcriptions.create(
            file=("a.wav", bytes(400_000)), model="phones", stream=True
        )
        with pytest.raises(openai.APIError, match="the request failed; the gateway's log"):
            list(events)


def test_a_gateway_outlives_its_server_and_finds_it_again(gateway_to, serving, stand_in):
    with serving(stand_in()) as running:
        port = int(running.address.rpartition(":")[2])
        with gateway_to(running.address) as gateway:
            audio = {"file": ("a.wav", wav())}
            fields = {"model": "stand-in"}
            assert post(gateway, audio, fields).status_code == 200
            running.stop()
            running.thread.join(timeout=30)
            assert error_of(post(gateway, audio, fields), 503)["code"] == "unavailable"
            assert httpx2.get(f"{gateway.url}/healthz").status_code == 503
            with connect(gateway.socket) as socket:
                socket.send(bytes(100))
                assert json.loads(socket.recv(timeout=30))["error"]["code"] == "unavailable"
            with (
                serving(stand_in(), listen=ListenOptions(port=port)),
                openai.OpenAI(
                    base_url=f"{gateway.url}/v1", api_key="any", max_retries=20
                ) as client,
            ):
                client.audio.transcriptions.create(file=audio["file"], model="stand-in")
                assert httpx2.get(f"{gateway.url}/healthz").json() == {"status": "ok"}


def wav() -> bytes:
    """Half a second of silence."""
    head = b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0"
    return head + b"data\x80\x3e\0\0" + bytes(16_000)


def test_a_client_that_goes_takes_its_call_with_it(gateway, fake, gate):
    fake.speech.hook = lambda audio: gate.wait(30)
    host, port = gateway.url.removeprefix("http://").split(":")
    request = httpx2.Request("POST", gateway.url, files=FILE, data=FORM)
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: {request.headers['content-type']}\r\n"
        f"Content-Length: {request.headers['content-length']}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + request.read())
        while not fake.heard:
            connection.settimeout(0.01)
            with pytest.raises(TimeoutError):
                connection.recv(1)
    assert fake.speech.ended.acquire(timeout=30)
    assert not gate.is_set()


# Caps


def open_request(gateway, *headers: str) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    lines = ["POST /v1/audio/transcriptions HTTP/1.1", "Host: x", *headers]
    lines.append("Content-Type: multipart/form-data; boundary=x")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def answer_of(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
        if answer.count(b"}") >= 2:
            break
    return answer


def test_a_length_beyond_the_cap_is_refused_before_anything_is_read(gateway):
    with open_request(gateway, f"Content-Length: {BODY_BYTES + 1}") as connection:
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"split it into parts" in answer


def test_a_body_without_a_length_is_counted(gateway):
    """Its sender goes on meanwhile, and still reads the answer."""
    with open_request(gateway, "Transfer-Encoding: chunked") as connection:
        piece = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for count in range(BODY_BYTES // (1 << 20) + 2):
            body = piece if count == 0 else bytes(1 << 20)
            connection.sendall(b"%x\r\n%s\r\n" % (len(body), body))
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_stalls_is_not_waited_for(fake, gateway_to):
    with (
        gateway_to(fake.address, idle_seconds=0.1) as gateway,
        open_request(gateway, "Content-Length: 1000") as connection,
    ):
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"too_slow" in answer


def test_a_connection_without_a_request_is_not_kept(gateway_to, fake, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    with gateway_to(fake.address) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        for head in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(head)
                assert connection.recv(1) == b""


def test_requests_beyond_the_places_are_refused_and_told_when(fake, gateway_to, gate):
    reached = threading.Event()

    def hold(audio: bytes) -> None:
        reached.set()
        assert gate.wait(30)

    fake.speech.hook = hold
    with gateway_to(fake.address, requests=1) as gateway, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, gateway)
        assert reached.wait(30)
        response = post(gateway)
        gate.set()
        assert first.result(30).json()["text"] == "4 bytes"
        assert post(gateway).status_code == 200
    assert error_of(response, 429)["code"] == "rate_limit_exceeded"
    assert response.headers["retry-after"] == "1"


def test_sockets_beyond_the_places_are_refused(fake, gateway_to):
    with gateway_to(fake.address, sockets=1) as gateway:
        with connect(gateway.socket), pytest.raises(InvalidStatus) as caught:
            connect(gateway.socket)
        assert caught.value.response.status_code == 429


# Keys, origins, encryption


@pytest.fixture
def locked(fake, gateway_to, tmp_path):
    """A gateway with keys, and the file that they stand in."""
    path = tmp_path / "keys"
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(f"{KEY}\n")
    with gateway_to(fake.address, listen=ListenOptions(port=0, token_file=path)) as gateway:
        yield gateway, path


def test_without_a_right_key_nothing_is_told_but_whether_it_is_well(locked, fake):
    gateway, _ = locked
    for headers in ({}, {"authorization": f"Bearer {OTHER}"}, {"authorization": f"Basic {KEY}"}):
        error = error_of(post(gateway, headers=headers), 401)
        assert error["code"] == "invalid_api_key"
    assert error_of(httpx2.get(f"{gateway.url}/v1/models"), 401)
    assert fake.heard == []
    assert httpx2.get(f"{gateway.url}/healthz").status_code == 200
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
        assert client.models.list().data


def test_keys_are_read_again(locked):
    gateway, path = locked
    assert error_of(post(gateway, headers={"authorization": f"Bearer {OTHER}"}), 401)
    path.write_text(f"{OTHER}\n")
    gateway.reload()
    while post(gateway, headers={"authorization": f"Bearer {OTHER}"}).status_code == 401:
        pass
    assert error_of(post(gateway, headers={"authorization": f"Bearer {KEY}"}), 401)


def test_sockets_show_their_key_in_a_header_or_first_of_all(locked):
    gateway, _ = locked
    with pytest.raises(InvalidStatus) as caught:
        connect(gateway.socket, additional_headers={"authorization": f"Bearer {OTHER}"})
    assert caught.value.response.status_code == 401
    with connect(gateway.socket, additional_headers={"authorization": f"Bearer {KEY}"}) as socket:
        socket.send(bytes(100))
        assert "partial" in json.loads(socket.recv(timeout=30))
    for first, is_right in (
        (json.dumps({"config": {"native": True, "api_key": KEY}}), True),
        (json.dumps({"config": {"native": True, "api_key": OTHER}}), False),
        (json.dumps({"config": {"native": True}}), False),
        (bytes(100), False),
    ):
        with connect(gateway.socket) as socket:
            socket.send(first)
            answer = json.loads(socket.recv(timeout=30))
            assert (answer.get("type") == "started") == is_right
            if not is_right:
                assert answer["error"]["code"] == "invalid_api_key"
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(timeout=30)
                assert closed.value.rcvd.code == 1008


def test_pages_of_other_sites_may_not_ask_unless_they_are_allowed(fake, gateway_to):
    origin = "https://example.org"
    with gateway_to(fake.address) as gateway:
        for stranger in (origin, "null", "http://["):
            assert error_of(post(gateway, headers={"origin": stranger}), 403)
        assert post(gateway, headers={"origin": gateway.url}).status_code == 200
        with pytest.raises(InvalidStatus):
            connect(gateway.socket, origin=origin)
        with connect(gateway.socket, origin=gateway.url):
            pass
    with gateway_to(fake.address, origins=(origin,)) as gateway:
        answer = post(gateway, headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        with connect(gateway.socket, origin=origin):
            pass


def test_other_machines_need_tls_or_a_word_that_they_do_not(gateway_to, fake):
    with pytest.raises(ConfigError, match="without encryption"):
        ListenOptions(host="0.0.0.0", port=0)
    with gateway_to(fake.address, listen=ListenOptions("0.0.0.0", 0, insecure=True)) as gateway:
        assert httpx2.get(gateway.url.replace("0.0.0.0", "127.0.0.1") + "/healthz").is_success


# By other means


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(gateway, tmp_path):
    (tmp_path / "your.wav").write_bytes(b"12345678")

    def ask(*fields: str) -> str:
        command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-F", "file=@your.wav"]
        command += [option for field in fields for option in ("-F", field)]
        command.append(f"{gateway.url}/v1/audio/transcriptions")
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        ).stdout

    assert json.loads(ask("model=letters"))["text"] == "8 bytes"
    assert ask("model=letters", "response_format=srt").startswith("1\n00:00:00,125 --> ")
    assert ask("model=letters", "stream=true").endswith(
        'event: transcript.text.done\ndata: {"type": "transcript.text.done", "text": "8 bytes"}\n\n'
    )
    assert json.loads(ask("model=nobody"))["error"]["code"] == "model_not_found"


def test_the_page_is_served_without_a_key(locked):
    gateway, _ = locked
    answer = httpx2.get(gateway.url)
    assert answer.headers["content-type"].startswith("text/html")
    assert httpx2.get(f"{gateway.url}/page/index.html").text == answer.text
    assert error_of(httpx2.get(f"{gateway.url}/page/../main.py"), 404)
    assert error_of(httpx2.get(f"{gateway.url}/page/%2e%2e/main.py"), 404)


# Its life


def test_a_stop_lets_a_request_finish_and_a_socket_tell_what_it_heard(gateway, fake, gate):
    reached = threading.Event()

    def hold(audio: bytes) -> None:
        if audio == b"1234":
            reached.set()
            assert gate.wait(30)

    fake.speech.hook = hold
    with ThreadPoolExecutor(1) as pool, connect(gateway.socket) as socket:
        asked = pool.submit(post, gateway)
        assert reached.wait(30)
        socket.send(bytes(3200))
        assert "partial" in json.loads(socket.recv(timeout=30))
        gateway.stop()
        assert json.loads(socket.recv(timeout=30))["text"] == "3200"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
        assert closed.value.rcvd.code == 1012
        gate.set()
        assert asked.result(30).json()["text"] == "4 bytes"


def test_the_command_says_where_it_listens_and_ends_at_a_signal(fake):
    with subprocess.Popen(
        [sys.executable, "-m", "server.http.main", "--server", fake.address, "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert httpx2.get(f"{url}/v1/models").json()["data"][0]["id"] == "letters"
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "path=/v1/models status=200" in log
    assert "Traceback" not in log
