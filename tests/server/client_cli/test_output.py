"""What the client writes, beside what `asr transcribe` writes."""

from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from asr.cli import writers as output
from asr.types import Hypothesis as AsrHypothesis
from asr.types import Transcript
from asr.types import Word as AsrWord
from server.client import Hypothesis, Transcription, Word
from server.client_cli.output import to_json, to_subtitles, to_text

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
        )
        for spoken in draw(st.lists(words(), min_size=1, max_size=3))
    ]
    return Transcription(tuple(hypotheses), draw(st.floats(0, 600)))


def as_transcript(transcription: Transcription) -> Transcript:
    return Transcript(
        tuple(
            AsrHypothesis(
                text=hypothesis.text,
                score=hypothesis.score,
                confidence=hypothesis.confidence,
                words=tuple(AsrWord(**asdict(word)) for word in hypothesis.words),
                search=hypothesis.search,
                lm_score=hypothesis.lm_score,
                bonus_score=hypothesis.bonus_score,
            )
            for hypothesis in transcription.hypotheses
        ),
        transcription.duration,
    )


@given(transcriptions())
def test_text_is_that_of_asr_transcribe(transcription):
    for path in (None, "a b.wav"):
        expected = output.to_text(as_transcript(transcription), path)
        assert to_text(transcription, path) == expected


@given(transcriptions())
def test_json_is_that_of_asr_transcribe_without_tokens(transcription):
    expected = output.to_dict(as_transcript(transcription), "a.wav")
    for hypothesis in expected["hypotheses"]:
        del hypothesis["tokens"]
    line = to_json(transcription, "a.wav")
    assert line == json.dumps(expected, ensure_ascii=False) + "\n"


@given(transcriptions())
def test_srt_is_that_of_asr_transcribe(transcription):
    assert to_subtitles(transcription, "srt") == output.to_srt(as_transcript(transcription))


@given(transcriptions())
def test_vtt_has_the_cues_of_srt(transcription):
    head, *blocks = to_subtitles(transcription, "vtt").split("\n\n")
    assert head == "WEBVTT"
    cues = to_subtitles(transcription, "srt").split("\n\n")
    assert len(blocks) == len(cues)
    for block, cue in zip(blocks[:-1], cues[:-1], strict=True):
        _, times, text = cue.split("\n")
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert block == f"{times.replace(',', '.')}\n{escaped}"


def test_vtt_escapes_what_would_be_markup():
    words = (Word("<b>", 0.0, 0.5, 1.0), Word("&", 0.5, 1.0, 1.0), Word("-->", 1.0, 1.5, 1.0))
    transcription = Transcription((Hypothesis("", 0.0, 1.0, words),), 2.0)
    text = to_subtitles(transcription, "vtt").splitlines()[-2]
    assert text == "&lt;b&gt; &amp; --&gt;"
