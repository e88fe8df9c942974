"""The limits of the service, and audio that is none, through the doors of the gateway."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
pytest.importorskip("httpx2", reason="OpenAI's client is not installed")

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limit_table import BEYOND, LIVE, WITHIN, wav  # beside conftest.py, which loads it
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from server.client import Client, StreamingRecognitionConfig
from server.limits import WHOLE_BYTES
from server.pb.v1 import speech_pb2 as pb

FILES = [name for name in BEYOND if name.endswith("in a header")]
PROMPTS = ["phrases", "characters of phrases", "characters of a phrase"]
SECOND = wav(16_000)
KEYS = {  # what a config of a socket calls the fields of RecognitionConfig
    "sample_rate_hertz": "sample_rate",
    "audio_channel_count": "channels",
    "audio_channel": "channel",
    "beam_width": "beam_width",
    "max_alternatives": "max_alternatives",
    "decoder": "decoder",
    "lm_weight": "lm_weight",
}


@pytest.fixture(scope="module")
def gateway(gateway_to, address):
    """Before a real server, which transcribes as before when all is over."""
    with gateway_to(address) as found:
        before = post(found, SECOND)
        assert before.status_code == 200
        yield found
        assert post(found, SECOND).json() == before.json()


def post(gateway, audio: bytes, **fields: str):
    return httpx2.post(
        f"{gateway.url}/v1/audio/transcriptions",
        files={"file": ("audio", audio)},
        data={"model": "tiny", **fields},
        timeout=120,
    )


def refused(response) -> str:
    """The words of a refusal that the client can mend."""
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error["message"]


@pytest.mark.parametrize("limit", FILES)
def test_files_beyond_a_limit_are_refused_in_the_servers_words(gateway, limit):
    _, audio, words = BEYOND[limit]
    assert words in refused(post(gateway, audio))


@pytest.mark.parametrize("limit", PROMPTS)
def test_prompts_beyond_a_limit_are_refused_in_the_servers_words(gateway, limit):
    config, _, words = BEYOND[limit]
    keywords = {"keywords[]": [*config.speech_contexts[0].phrases]}
    assert words in refused(post(gateway, SECOND, **keywords))


def talk(gateway, config: dict, audio: bytes) -> list[dict]:
    """All that a socket says."""
    with connect(gateway.socket, max_size=None) as socket:
        socket.send(json.dumps({"config": {"native": True, **config}}))
        heard = [json.loads(socket.recv(timeout=60))]
        if heard[0]["type"] == "started":
            for start in range(0, len(audio), 1 << 20):
                socket.send(audio[start : start + (1 << 20)])
            socket.send('{"eof": 1}')
        return [*heard, *rest(socket)]


def rest(socket) -> list[dict]:
    """What else a socket says until it is closed, for whatever reason."""
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(json.loads(socket.recv(timeout=60)))
    return heard


def config_of(config: pb.RecognitionConfig) -> dict:
    """``config`` as a socket's client writes it."""
    values = {KEYS[field.name]: value for field, value in config.ListFields() if field.name in KEYS}
    encoding = pb.AudioEncoding.Name(config.encoding).removeprefix("AUDIO_ENCODING_")
    values["encoding"] = "FILE" if encoding == "UNSPECIFIED" else encoding
    for context in config.speech_contexts:
        values["phrase_list"] = [*context.phrases]
        values["phrase_weight"] = context.boost
    return values


@pytest.mark.parametrize("limit", LIVE)
def test_sockets_are_refused_alike_what_is_beyond_a_limit(gateway, limit):
    config, audio, words = BEYOND[limit]
    *_, last = talk(gateway, config_of(config), audio)
    assert last["type"] == "error"
    if limit == "boost, no number":  # JSON's readers may have no such number
        words = "give a number"
    assert last["error"]["type"] == "invalid_request_error"
    assert words in last["error"]["message"]


@pytest.mark.parametrize("limit", WITHIN)
def test_sockets_take_what_is_at_a_limit(gateway, limit):
    config, audio = WITHIN[limit]
    *_, last = talk(gateway, config_of(config), audio)
    assert last == {"type": "done"}


def test_a_file_of_the_largest_size_goes_through_and_a_byte_more_does_not(gateway):
    largest = wav((WHOLE_BYTES - 44) // 8, 48_000, 4)  # 175 s of four channels
    assert len(largest) == WHOLE_BYTES - 4
    assert post(gateway, largest + bytes(4)).status_code == 200
    answer = post(gateway, largest + bytes(5))
    assert answer.status_code == 413
    assert f"{WHOLE_BYTES} may be audio" in answer.json()["error"]["message"]


# The same by every door


def test_what_is_said_is_the_same_as_the_server_says_itself(gateway, address, samples_of, file_of):
    audio = file_of(samples_of(3, 2.0), 16_000, "WAV", "PCM_16")
    raw = audio[44:]
    live = StreamingRecognitionConfig(
        config=pb.RecognitionConfig(
            encoding="AUDIO_ENCODING_LINEAR16",
            sample_rate_hertz=16_000,
            enable_word_time_offsets=True,
            max_alternatives=2,
        )
    )
    with Client(address) as client:
        whole = client.transcribe(audio, pb.RecognitionConfig(enable_word_time_offsets=True))
        finals = [result for result in client.live([raw], live) if result.is_final]
    assert whole.text
    said = post(gateway, audio, response_format="verbose_json").json()
    assert (said["text"], said["duration"]) == (whole.text, whole.duration)
    config = {"sample_rate": 16_000, "max_alternatives": 2}
    heard = [message for message in talk(gateway, config, raw) if message["type"] == "final"]
    assert [message["text"] for message in heard] == [final.text for final in finals]
    for message, final in zip(heard, finals, strict=True):
        assert [alternative["text"] for alternative in message["alternatives"]] == [
            hypothesis.text for hypothesis in final.hypotheses
        ]
        words = final.hypotheses[0].words
        assert [word["start"] for word in message["words"]] == [
            round(word.start, 3) for word in words
        ]


def test_a_stop_tells_what_was_said_in_a_file_that_goes_on(
    gateway_to, address, samples_of, file_of
):
    """Its header promises more than has come."""
    audio = file_of(samples_of(3, 4.0), 16_000, "WAV", "PCM_16")
    with gateway_to(address) as gateway, connect(gateway.socket) as socket:
        socket.send(audio[: len(audio) // 2])
        assert "error" not in json.loads(socket.recv(timeout=60))
        gateway.stop()
        *_, last = rest(socket)
        assert last["text"]
        assert socket.close_code == 1012


# Rubbish

SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(response) -> None:
    """An answer, or a refusal with words."""
    if response.status_code != 200:
        assert refused(response)
        return
    assert isinstance(response.json()["text"], str)


@SETTINGS
@given(data=st.binary(max_size=4000), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS"]))
def test_random_bytes(gateway, data, start):
    check(post(gateway, start + data))


def test_rubbish_files(gateway, rubbish):
    for kind, payload in rubbish.invalid_payloads(40):
        assert refused(post(gateway, payload)), kind


@SETTINGS
@given(data=st.binary(max_size=2000), boundary=st.sampled_from([b"", b"--x\r\n", b"--x--"]))
def test_forms_that_are_none(gateway, data, boundary):
    response = httpx2.post(
        f"{gateway.url}/v1/audio/transcriptions",
        content=boundary + data,
        headers={"content-type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert refused(response)


messages = st.one_of(
    st.binary(max_size=500),
    st.text(max_size=200),
    st.dictionaries(
        st.sampled_from(["config", "eof", "end_segment", "x"]),
        st.one_of(
            st.integers(),
            st.dictionaries(
                st.sampled_from([*KEYS.values(), "native", "phrase_list", "latency", "words"]),
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
                max_size=3,
            ),
        ),
        max_size=2,
    ).map(json.dumps),
)


@SETTINGS
@given(sent=st.lists(messages, max_size=5))
def test_random_messages(gateway, sent):
    """Whatever is sent, what comes back is JSON, the last of it an end or an error with words."""
    with connect(gateway.socket) as socket:
        for message in [*sent, '{"eof": 1}']:
            with suppress(ConnectionClosed):
                socket.send(message)
        heard = rest(socket)
    assert heard
    error = heard[-1].get("error")
    if error is None:
        assert heard[-1].get("type") == "done" or "text" in heard[-1] or "alternatives" in heard[-1]
    else:
        assert error["type"] == "invalid_request_error"
        assert error["message"]


@pytest.mark.parametrize("value", [1e30, float("inf"), float("nan")])
def test_samples_of_any_size(gateway, value):
    samples = struct.pack("<8000f", *[value] * 8000)
    *_, last = talk(gateway, {"encoding": "FLOAT", "sample_rate": 16_000}, samples)
    assert last["type"] == "done" or last["error"]["type"] == "invalid_request_error"
