"""Riva's client asks for whole files: what it is told is what ``asr.v1`` tells of them."""

from __future__ import annotations

import json

import grpc
import pytest
import soundfile

riva = pytest.importorskip("riva.client", reason="the extra riva is not installed")
rasr = pytest.importorskip("riva.client.proto.riva_asr_pb2")

from asr.bundle.shipped import shipped_bundle  # noqa: E402
from asr.recognizer import Recognizer  # noqa: E402
from asr.types import ConfigError  # noqa: E402
from server.pb.v1 import speech_pb2 as pb  # noqa: E402

INVALID = grpc.StatusCode.INVALID_ARGUMENT
RATE = 16_000


def ours(running, audio: bytes, **options) -> pb.SpeechRecognitionResult:
    """What ``asr.v1`` says."""
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(**options), audio=audio)
    return running.stub.Transcribe(request, timeout=60).results[0]


def refused(asr, audio: bytes, **options) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        asr.offline_recognize(audio, riva.RecognitionConfig(**options))
    return caught.value.code(), caught.value.details()


def test_a_file_is_transcribed_with_its_alternatives_and_word_times(asr, running, speech):
    config = riva.RecognitionConfig(
        language_code="en-US", max_alternatives=3, enable_word_time_offsets=True
    )
    audio = speech.read_bytes()
    response = asr.offline_recognize(audio, config, future=True).result()
    expected = ours(running, audio, max_alternatives=3, enable_word_time_offsets=True)
    [result] = response.results
    assert len(result.alternatives) == 3
    texts = [alternative.transcript for alternative in result.alternatives]
    assert texts == [f"{alternative.transcript} " for alternative in expected.alternatives]
    best = expected.alternatives[0]
    assert result.alternatives[0].confidence == pytest.approx(best.confidence)
    assert [word.word for word in result.alternatives[0].words] == [w.word for w in best.words]
    for word, expected_word in zip(result.alternatives[0].words, best.words, strict=True):
        assert word.start_time == expected_word.start_time.ToMilliseconds()
        assert word.end_time == expected_word.end_time.ToMilliseconds()
        assert word.confidence == pytest.approx(expected_word.confidence)
    assert not any(alternative.words for alternative in result.alternatives[1:])
    assert (result.channel_tag, result.audio_processed) == (1, 2.0)


def test_what_the_client_prints_is_the_text(asr, running, speech, capsys):
    audio = speech.read_bytes()
    riva.print_offline(asr.offline_recognize(audio, riva.RecognitionConfig()))
    printed = capsys.readouterr().out
    text = ours(running, audio).alternatives[0].transcript
    assert printed.splitlines()[-1].strip() == f"Final transcript: {text}"
    shown, _ = json.JSONDecoder().raw_decode(printed)
    assert len(shown["results"][0]["alternatives"]) == 1, "one, where none was asked for"


@pytest.mark.parametrize(
    ("encoding", "container", "subtype", "native"),
    [
        ("ENCODING_UNSPECIFIED", "WAV", "PCM_16", "UNSPECIFIED"),
        ("ENCODING_UNSPECIFIED", "FLAC", "PCM_16", "UNSPECIFIED"),
        ("LINEAR_PCM", "RAW", "PCM_16", "LINEAR16"),
        ("LINEAR_PCM", "WAV", "PCM_16", "UNSPECIFIED"),
        ("FLAC", "FLAC", "PCM_16", "FLAC"),
        ("MULAW", "RAW", "ULAW", "MULAW"),
        ("MULAW", "WAV", "ULAW", "UNSPECIFIED"),
        ("ALAW", "RAW", "ALAW", "ALAW"),
        ("OGGOPUS", "OGG", "OPUS", "OGG"),
    ],
)
def test_every_encoding_of_the_client_is_heard(
    asr, running, file_of, samples_of, encoding, container, subtype, native
):
    """With a header, whatever the client calls it: its scripts send WAV files as LINEAR_PCM."""
    audio = file_of(samples_of(4, 1.5), RATE, container, subtype)
    config = riva.RecognitionConfig(
        encoding=riva.AudioEncoding.Value(encoding), sample_rate_hertz=RATE, audio_channel_count=1
    )
    [result] = asr.offline_recognize(audio, config).results
    rate = RATE if container == "RAW" else 0
    options = {"encoding": f"AUDIO_ENCODING_{native}", "sample_rate_hertz": rate}
    expected = ours(running, audio, **options).alternatives[0]
    assert result.alternatives[0].transcript.strip() == expected.transcript != ""


def test_of_several_channels_the_first_is_heard(asr, running, tmp_path, samples_of):
    path = tmp_path / "two.wav"
    two = [
        [left, right] for left, right in zip(samples_of(5, 1.0), samples_of(6, 1.0), strict=True)
    ]
    soundfile.write(path, two, RATE, subtype="PCM_16")
    audio = path.read_bytes()
    config = riva.RecognitionConfig()
    riva.add_audio_file_specs_to_config(config, path)  # the client's own
    assert config.audio_channel_count == 2
    texts = [ours(running, audio, audio_channel=c).alternatives[0].transcript for c in (1, 2)]
    assert texts[0] != texts[1]
    first = asr.offline_recognize(audio, config).results[0]
    assert first.alternatives[0].transcript.strip() == texts[0]
    riva.add_custom_configuration_to_config(config, "audio_channel:2")
    second = asr.offline_recognize(audio, config).results[0]
    assert second.alternatives[0].transcript.strip() == texts[1]
    assert (first.channel_tag, second.channel_tag) == (1, 2)


def test_the_clients_name_for_its_request_comes_back(asr, speech):
    request = rasr.RecognizeRequest(audio=speech.read_bytes())
    assert not asr.stub.Recognize(request).HasField("id")
    request.id.value = "a name"
    assert asr.stub.Recognize(request).id.value == "a name"


def test_what_changes_the_form_of_the_text_alone_is_passed_over(asr, speech):
    """As Riva's servers do without the models for it."""
    audio = speech.read_bytes()
    plain = asr.offline_recognize(audio, riva.RecognitionConfig())
    config = riva.RecognitionConfig(
        enable_automatic_punctuation=True, profanity_filter=True, verbatim_transcripts=True
    )
    assert asr.offline_recognize(audio, config) == plain


def test_what_would_change_its_meaning_is_refused(asr, speech):
    config = riva.RecognitionConfig()
    riva.add_speaker_diarization_to_config(config, True, 3)
    with pytest.raises(grpc.RpcError) as caught:
        asr.offline_recognize(speech.read_bytes(), config)
    assert caught.value.code() == INVALID
    assert "speaker diarization" in caught.value.details()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding": 7}, "encoding 7 is unknown (give one of LINEAR_PCM, FLAC, MULAW"),
        ({"encoding": 1}, "sample_rate_hertz is missing"),
        ({"custom_configuration": {"beam_width": "wide"}}, "beam_width is 'wide' (give a whole"),
        ({"custom_configuration": {"lm_weight": "nan"}}, "lm_weight is 'nan'"),
        ({"custom_configuration": {"beam_width": str(2**31)}}, "beam_width is '2147483648'"),
        ({"max_alternatives": -1}, "max_alternatives is -1"),
        ({"speech_contexts": [{"phrases": ["a"], "boost": float("nan")}]}, "boost is nan"),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_request(asr, options, words):
    code, details = refused(asr, bytes(32_000), **options)
    assert code == INVALID
    assert words in details


def test_a_model_that_there_is_not_is_not_found(asr):
    code, details = refused(asr, bytes(32_000), model="parakeet")
    assert code == grpc.StatusCode.NOT_FOUND
    assert "parakeet" in details


def test_custom_configuration_chooses_the_decoder_and_other_keys_change_nothing(
    asr, running, speech
):
    audio = speech.read_bytes()
    config = riva.RecognitionConfig(max_alternatives=4)
    riva.add_custom_configuration_to_config(
        config, "decoder:beam,beam_width:4,enable_vad_endpointing:true"
    )
    texts = [a.transcript for a in asr.offline_recognize(audio, config).results[0].alternatives]
    expected = ours(running, audio, decoder="beam", beam_width=4, max_alternatives=4)
    assert texts == [f"{alternative.transcript} " for alternative in expected.alternatives]


# The model that ships


@pytest.fixture(scope="module")
def english(serving):
    try:
        path = shipped_bundle()
    except ConfigError:
        pytest.skip("models/english is not there")
    with serving(Recognizer.load(path)) as running:
        auth = riva.Auth(uri=running.address)
        yield riva.ASRService(auth), path
        auth.channel.close()


def test_the_language_is_checked_and_told(english):
    asr, path = english
    audio = next(path.glob("samples/*.flac")).read_bytes()
    for code in ("", "en-US", "en-GB", "en"):
        [result] = asr.offline_recognize(audio, riva.RecognitionConfig(language_code=code)).results
        assert list(result.alternatives[0].language_code) == ["en-US"]
    code, details = refused(asr, audio, language_code="de-DE")
    assert code == INVALID
    assert "does not know the language 'de-DE'" in details
    request = rasr.RivaSpeechRecognitionConfigRequest()
    entries = asr.stub.GetRivaSpeechRecognitionConfig(request).model_config
    assert [entry.parameters["type"] for entry in entries] == ["offline", "online"]
    assert {entry.parameters["language_code"] for entry in entries} == {"en-US"}
    assert {entry.parameters["sample_rate"] for entry in entries} == {"16000"}


@pytest.mark.parametrize("boost", [4.0, 20.0, 100.0])
def test_boosted_words_are_heard_at_any_boost_that_riva_recommends(english, boost):
    """And what is not said is not heard, though it is boosted too."""
    asr, path = english
    audio = (path / "samples" / "4406-16882-0057.flac").read_bytes()
    plain = asr.offline_recognize(audio, riva.RecognitionConfig()).results[0]
    assert "THIS RIVER" not in plain.alternatives[0].transcript
    config = riva.RecognitionConfig()
    riva.add_word_boosting_to_config(config, ["THIS RIVER", "MELBOURNE"], boost)
    heard = asr.offline_recognize(audio, config).results[0].alternatives[0].transcript
    assert "THIS RIVER" in heard
    assert "MELBOURNE" not in heard
    assert "WE CAME TO" in heard
