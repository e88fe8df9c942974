"""What the client writes: what the server said, in the formats of `asr transcribe`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from asr.cli import transcribe
from asr.files.find import sources_of
from asr.types import AsrError, Transcript
from server.client import ClientError, Hypothesis, Transcription, Word
from server.client_cli.output import FORMATS, result_of

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1)


@st.composite
def words(draw) -> list[Word]:
    """Words in time order, with pauses, some at once, some without length."""
    now = 0.0
    result = []
    for text in draw(st.lists(TEXTS, max_size=40)):
        start = now + draw(st.sampled_from([0.0, 0.02, 0.5, 1.0, 1.02, 3601.0]))
        now = start + draw(st.sampled_from([0.0, 0.0004, 0.3, 6.0, 7.0]))
        result.append(Word(text, start, now, draw(st.floats(0, 1))))
    return result


@st.composite
def transcriptions(draw) -> Transcription:
    parts = st.floats(-1e6, 0)
    hypotheses = [
        Hypothesis(
            text=" ".join(word.text for word in spoken),
            score=(score := draw(parts)),
            lm_score=(lm_score := draw(parts)),
            bonus_score=(bonus_score := draw(parts)),
            acoustic_score=score - lm_score - bonus_score,
            confidence=draw(st.floats(0, 1)),
            words=tuple(spoken),
            search=draw(st.sampled_from([None, "exact", "sectioned", "cut"])),
            spoken_text=" ".join(word.text for word in spoken[:2]),
            spoken_words=tuple(spoken[:2]),
        )
        for spoken in draw(st.lists(words(), min_size=1, max_size=3))
    ]
    return Transcription(tuple(hypotheses), draw(st.floats(0, 600)))


def rounded(values: dict) -> dict:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}


@given(transcriptions())
def test_all_that_the_server_said_is_written(transcription):
    (source,) = sources = sources_of(["a.wav"])
    line = FORMATS["json"](sources).render(source, [result_of(transcription)])
    values = json.loads(line)
    assert values["file"] == "a.wav"
    assert values["duration"] == round(transcription.duration, 4)
    for told, said in zip(values["hypotheses"], transcription.hypotheses, strict=True):
        expected = rounded(asdict(said))
        expected["words"] = [rounded(word) for word in expected["words"]]
        expected["spoken_words"] = [rounded(word) for word in expected["spoken_words"]]
        if expected["search"] is None:
            del expected["search"]
        if not expected["spoken_text"]:
            del expected["spoken_text"], expected["spoken_words"]
        # A difference of two sums, which may round to either side.
        assert abs(told.pop("acoustic_score") - expected.pop("acoustic_score")) <= 0.0011
        assert told == expected


@given(transcriptions())
def test_other_formats_are_those_of_asr_transcribe(transcription):
    (source,) = sources = sources_of(["a.wav"])
    result = result_of(transcription)
    assert isinstance(result.outcome, Transcript)
    assert list(FORMATS) == list(transcribe.FORMATS)
    for name in ("text", "srt", "vtt", "ctm"):
        expected = transcribe.FORMATS[name](sources).render(source, [result])
        assert FORMATS[name](sources).render(source, [result]) == expected


def test_a_failure_is_told_in_the_clients_words():
    result = result_of(ClientError("the server is full (try later)"))
    assert isinstance(result.outcome, AsrError)
    (source,) = sources = sources_of(["a.wav"])
    values = json.loads(FORMATS["json"](sources).render(source, [result]))
    assert values == {"file": "a.wav", "error": "the server is full (try later)"}


WITHOUT_THE_TOOLKIT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "numpy", "numba", "onnx", "onnxruntime",
                                      "soundfile", "soxr", "rich", "safetensors", "matplotlib"}:
            raise ModuleNotFoundError("kept away by the test: " + name)

sys.meta_path.insert(0, Absent())
from server.client_cli.main import main
sys.exit(main(["--list-models", "--retries", "0", "--address", "unix:/nowhere", "--timeout", "5"]))
"""


def test_the_client_needs_nothing_that_recognises():
    """Where grpcio and protobuf alone are installed, it runs."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_TOOLKIT],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("asr-client: error: the server at unix:/nowhere is not available")
