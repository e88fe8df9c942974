"""``POST /v1/audio/transcriptions`` and ``GET /v1/models``, by OpenAI's own client."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
pytest.importorskip("httpx2", reason="OpenAI's client is not installed")

import httpx2
import openai


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
def transcribe(client):
    """Ask about four bytes, which the fake service takes for "4 bytes"."""

    def ask(audio: bytes = b"\1\2\3\4", model: str = "letters", **options):
        return client.audio.transcriptions.create(file=("a.wav", audio), model=model, **options)

    return ask


def test_models_are_listed_with_the_default_one_first(client):
    assert [model.id for model in client.models.list()] == ["letters", "phones"]
    assert client.models.retrieve("phones").id == "phones"


def test_text_is_told_in_each_format(transcribe):
    assert transcribe().text == "4 bytes"
    assert transcribe(response_format="text") == "4 bytes\n"
    assert transcribe(response_format="srt") == "1\n00:00:00,125 --> 00:00:01,000\n4 bytes\n\n"
    assert transcribe(response_format="vtt") == (
        "WEBVTT\n\n00:00:00.125 --> 00:00:01.000\n4 bytes\n\n"
    )


def test_verbose_json_has_the_times_that_were_asked_for(transcribe):
    said = transcribe(response_format="verbose_json")
    assert (said.text, said.language, said.duration) == ("4 bytes", "english", 1.0)
    [segment] = said.segments
    assert (segment.start, segment.end, segment.text) == (0.125, 1.0, "4 bytes")
    assert said.words is None
    said = transcribe(response_format="verbose_json", timestamp_granularities=["word"])
    assert [(word.word, word.start, word.end) for word in said.words] == [
        ("4", 0.125, 0.5),
        ("bytes", 0.5, 1.0),
    ]
    assert said.segments is None


def test_a_stream_has_deltas_that_make_the_text(transcribe):
    """The fake service's own model answers at its end; the other one is live."""
    for model, text in (("letters", "4 bytes"), ("phones", "4")):
        *deltas, done = transcribe(model=model, stream=True)
        assert {event.type for event in deltas} == {"transcript.text.delta"}
        assert (done.type, done.text) == ("transcript.text.done", text)
        assert "".join(event.delta for event in deltas) == text


def test_a_prompt_is_phrases(transcribe, fake):
    transcribe(prompt="Peephole, LSTM. Graves;  two words\nLSTM", extra_body={"keywords": ["last"]})
    [context] = fake.heard[-1].config.speech_contexts
    assert [*context.phrases] == ["Peephole", "LSTM", "Graves", "two words", "last"]


def test_a_prompt_is_left_out_where_the_model_has_not_its_words(serve_fake, gateway_to, failure):
    """To OpenAI's models it is a hint. What is named as a keyword has to be known."""
    unknown = failure("INVALID_ARGUMENT", "the word 'Graves' is not in the lexicon", None)

    def ask(refusals: int, **fields: str):
        server = serve_fake(None, *[unknown] * refusals)
        with gateway_to(server.address) as gateway:
            response = httpx2.post(
                f"{gateway.url}/v1/audio/transcriptions",
                files={"file": ("a.wav", b"1234")},
                data={"model": "letters", "prompt": "Graves", **fields},
            )
        contexts = [heard.config.speech_contexts for heard in server.heard]
        return response, [[*context[0].phrases] if context else [] for context in contexts]

    response, phrases = ask(0)
    assert (response.status_code, phrases) == (200, [["Graves"]])
    assert "x-prompt-ignored" not in response.headers
    response, phrases = ask(1)
    assert (response.status_code, phrases) == (200, [["Graves"], []])
    assert "'Graves' is not in the lexicon" in response.headers["x-prompt-ignored"]
    response, phrases = ask(2, **{"keywords[]": "Peephole"})
    assert (response.status_code, phrases[-1]) == (400, ["Peephole"])


def test_names_of_openais_models_stand_for_the_default_one(transcribe, fake):
    for name in ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe-2025-12-15"):
        assert transcribe(model=name).text == "4 bytes"
        assert fake.heard[-1].config.model == ""


def test_a_model_that_there_is_not(transcribe):
    with pytest.raises(openai.NotFoundError) as caught:
        transcribe(model="nobody")
    assert caught.value.body == {
        "message": "there is no model 'nobody'",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_posteriors_are_told_where_they_are_included(transcribe, fake):
    with pytest.raises(openai.BadRequestError, match="verbose_json"):
        transcribe(include=["posteriors"])
    with pytest.raises(openai.BadRequestError, match="include"):
        transcribe(include=["logprobs"])
    transcribe(response_format="verbose_json", extra_body={"include": ["posteriors"]})
    assert fake.heard[-1].config.enable_posteriors
    transcribe(response_format="verbose_json")
    assert not fake.heard[-1].config.enable_posteriors


def test_what_the_server_has_not_installed_is_told(transcribe, fake, failure):
    fake.speech.failures.append(
        failure("FAILED_PRECONDITION", "install the extra itn", pushback=None)
    )
    with pytest.raises(openai.BadRequestError, match="install the extra itn"):
        transcribe()
