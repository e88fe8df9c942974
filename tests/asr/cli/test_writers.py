"""Each format says what the transcript says, and its own readers understand it."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.cli.writers import (
    CtmWriter,
    JsonWriter,
    Outcome,
    Result,
    ResultWriter,
    SrtWriter,
    TextGridWriter,
    TextWriter,
    VttWriter,
)
from asr.decoding import BeamOptions, DecoderOptions, GreedyOptions, PrefixOptions, make_decoder
from asr.files.find import sources_of
from asr.tokens import Tokenizer
from asr.types import AudioError, Hypothesis, TimedToken, Transcript, Word

SPACED = Tokenizer(["<blank>", "<space>", "a", "b"])
DECODERS = (GreedyOptions(), BeamOptions(nbest=4), PrefixOptions(nbest=4))
CUE = re.compile(r"(\d+)\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n(.+)\n\n")


def written(kind: type[ResultWriter], outcome: Outcome, *files: str) -> str:
    """What is written of the first of ``files``."""
    sources = sources_of(files or ["a.wav"])
    return kind(sources).render(sources[0], [Result(outcome)])


def to_srt(transcript: Transcript) -> str:
    return written(SrtWriter, transcript)


def transcript_of(words: list[Word], duration: float = 4000.0) -> Transcript:
    text = " ".join(word.text for word in words)
    return Transcript((Hypothesis(text, -1.5, 0.9, (), tuple(words)),), duration)


ONE_TWO = transcript_of([Word("one", 0.1, 0.42, 0.9), Word("two", 0.5, 0.75, 0.25)], 1.0)
EMPTY = Transcript((Hypothesis("", -0.1, 1.0),), 2.0)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Words in order of time, with gaps, some without length, as decoders give them."""
    spans = draw(
        st.lists(
            st.tuples(
                st.text("abcäø'", min_size=1, max_size=12), st.floats(0, 3), st.floats(0, 1.5)
            ),
            max_size=40,
        )
    )
    words, now = [], 0.0
    for text, gap, length in spans:
        words.append(Word(text, now + gap, now + gap + length, 0.5))
        now += gap + length
    return transcript_of(words)


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))


def read_srt(text: str) -> list[tuple[int, float, float, str]]:
    assert CUE.sub("", text) == "", "something is not a cue"
    return [(int(n), seconds(a), seconds(b), words) for n, a, b, words in CUE.findall(text)]


# Spaces


def spoken(path: list[int], options: DecoderOptions) -> Transcript:
    """What a decoder makes of a path that is all but certain, a token a frame."""
    log_probs = torch.full((1, len(path), SPACED.size), -12.0)
    log_probs[0, range(len(path)), path] = 0.0
    decoder = make_decoder(options, SPACED, 0.1)
    (found,) = decoder.decode(log_probs.log_softmax(2), torch.tensor([len(path)]))
    return Transcript(tuple(found), len(path) / 10)


@pytest.mark.parametrize("options", DECODERS, ids=lambda options: options.name)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ([1], []),
        ([0, 1, 0, 1, 1], []),
        ([1, 2, 3], ["ab"]),
        ([2, 3, 1], ["ab"]),
        ([1, 0, 1, 2, 1, 0, 1, 3, 1, 0], ["a", "b"]),
    ],
)
def test_a_space_is_no_word_in_any_format(options, path, words):
    transcript = spoken(path, options)
    assert written(TextWriter, transcript).splitlines()[0].split("\t")[-1] == " ".join(words)
    assert [line.split()[4] for line in written(CtmWriter, transcript).splitlines()] == words
    for kind in (SrtWriter, VttWriter):
        lines = written(kind, transcript).splitlines()
        assert [line for line in lines if set(line) & set("ab")] == [" ".join(words)] * bool(words)
    for kind in (TextWriter, SrtWriter, VttWriter, CtmWriter):
        assert "space" not in written(kind, transcript)
    for hypothesis in json.loads(written(JsonWriter, transcript))["hypotheses"]:
        assert hypothesis["text"] == " ".join(hypothesis["text"].split())
        assert [word["text"] for word in hypothesis["words"]] == hypothesis["text"].split()


# Text


def test_text_is_the_transcript_alone():
    assert written(TextWriter, ONE_TWO) == "one two\n"
    assert written(TextWriter, EMPTY) == "\n"


def test_text_of_several_files_names_each():
    assert written(TextWriter, ONE_TWO, "a.wav", "b.wav") == "a.wav\tone two\n"


def test_text_ranks_alternatives():
    both = Transcript((Hypothesis("one", -1, 0.6), Hypothesis("on", -2, 0.3)), 1.0)
    assert written(TextWriter, both, "a.wav", "b.wav") == "a.wav\t1\tone\na.wav\t2\ton\n"


# JSON


def test_json_is_one_line_with_everything():
    tokens = (TimedToken("o", 0.1, 0.2, 0.87654),)
    hypothesis = Hypothesis("öne", -3.14159, 0.5, tokens, (Word("öne", 0.1, 0.2, 0.5),))
    line = written(JsonWriter, Transcript((hypothesis, Hypothesis("two", -4.0, 0.1)), 1.5))
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert "öne" in line
    values = json.loads(line)
    assert values["file"] == "a.wav"
    assert values["duration"] == 1.5
    assert values["text"] == "öne"
    first, second = values["hypotheses"]
    assert first["words"] == [{"text": "öne", "start": 0.1, "end": 0.2, "confidence": 0.5}]
    assert first["tokens"] == [{"token": "o", "start": 0.1, "end": 0.2, "confidence": 0.877}]
    assert first["score"] == -3.142
    assert second["text"] == "two"


def test_json_of_a_failure_says_why():
    values = json.loads(written(JsonWriter, AudioError("empty", where="/x/a.wav", remedy="record")))
    assert values == {"file": "a.wav", "error": "empty (record)"}


# SRT


def test_srt_by_the_book():
    assert to_srt(ONE_TWO) == "1\n00:00:00,100 --> 00:00:00,750\none two\n\n"
    assert to_srt(EMPTY) == ""


def test_srt_beyond_an_hour():
    late = transcript_of([Word("late", 3725.0405, 3726.9999, 1.0)])
    assert "01:02:05,040 --> 01:02:07,000" in to_srt(late)


def test_a_pause_begins_a_new_cue():
    cues = read_srt(to_srt(transcript_of([Word("a", 0, 0.5, 1), Word("b", 2.0, 2.5, 1)])))
    assert [cue[3] for cue in cues] == ["a", "b"]


@given(transcripts())
def test_srt_parses_in_order_with_every_word(transcript):
    cues = read_srt(to_srt(transcript))
    assert [cue[0] for cue in cues] == list(range(1, len(cues) + 1))
    assert " ".join(cue[3] for cue in cues) == transcript.text
    for _, start, end, text in cues:
        assert start <= end
        assert len(text) <= 84
    for before, after in pairwise(cues):
        assert before[2] <= after[1] + 1e-9


# CTM


@given(transcripts())
def test_ctm_lines_parse(transcript):
    lines = written(CtmWriter, transcript, "utt.wav").splitlines()
    words = transcript.hypotheses[0].words
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        file, channel, start, duration, text, confidence = line.split(" ")
        assert (file, channel, text) == ("utt", "1", word.text)
        assert float(start) == pytest.approx(word.start, abs=6e-4)
        assert float(start) + float(duration) == pytest.approx(word.end, abs=1.1e-3)
        assert float(duration) >= 0
        assert 0 <= float(confidence) <= 1


def test_phones_stand_in_for_words():
    phones = (TimedToken("sil", 0, 0.1, 1), TimedToken("aa", 0.1, 0.3, 0.5))
    transcript = Transcript((Hypothesis("sil aa", -1, 0.7, phones),), 0.4)
    assert (
        written(CtmWriter, transcript, "u.wav")
        == "u 1 0.000 0.100 sil 1.000\nu 1 0.100 0.200 aa 0.500\n"
    )


def test_a_space_alone_is_no_word():
    spaces = (TimedToken("<space>", 0, 0.1, 1),)
    transcript = Transcript((Hypothesis(" ", -1, 0.7, spaces),), 0.4)
    for kind in (CtmWriter, SrtWriter):
        assert written(kind, transcript) == ""
    assert written(VttWriter, transcript) == "WEBVTT\n\n"


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["x/a b.wav", "y/c.flac"], ["a_b", "c"]),
        (["x/a.wav", "y/a.wav", "b.wav"], ["x/a", "y/a", "b"]),
        (["a.wav", "a.flac"], ["a.wav", "a.flac"]),
        (["a b.wav", "a_b.wav"], ["a_b.wav-1", "a_b.wav-2"]),
    ],
)
def test_names_in_ctm_are_one_word_and_distinct(files, ids):
    sources = sources_of(files)
    writer = CtmWriter(sources)
    lines = [writer.render(source, [Result(ONE_TWO)]) for source in sources]
    assert [line.split()[0] for line in lines] == ids


def test_a_failure_is_a_comment_in_ctm_and_nothing_in_text_and_subtitles():
    error = AudioError("empty", where="a.wav", remedy="say\nsomething")
    assert written(CtmWriter, error) == ";; a.wav: empty (say something)\n"
    for kind in (TextWriter, SrtWriter, VttWriter, TextGridWriter):
        assert written(kind, error) == ""


# WebVTT


@given(transcripts())
def test_vtt_has_the_cues_of_srt(transcript):
    head, *blocks = written(VttWriter, transcript).split("\n\n")
    assert head == "WEBVTT"
    cues = to_srt(transcript).split("\n\n")
    assert len(blocks) == len(cues)
    for block, cue in zip(blocks[:-1], cues[:-1], strict=True):
        _, times, text = cue.split("\n")
        assert block == f"{times.replace(',', '.')}\n{text}"


def test_vtt_escapes_what_would_be_markup():
    words = [Word("<b>", 0.0, 0.5, 1.0), Word("&", 0.5, 1.0, 1.0), Word("-->", 1.0, 1.5, 1.0)]
    text = written(VttWriter, transcript_of(words)).splitlines()[-2]
    assert text == "&lt;b&gt; &amp; --&gt;"


@pytest.mark.parametrize("kind", [SrtWriter, VttWriter])
def test_parts_of_a_stream_are_one_file(kind):
    """One head, and cues that count on."""
    sources = sources_of(["a.wav"])
    parts = [transcript_of([Word("one", t, t + 0.5, 1.0)]) for t in (0.0, 3.0, 6.0)]
    writer = kind(sources)
    apart = "".join(writer.render(sources[0], [Result(part)]) for part in parts)
    whole = transcript_of([word for part in parts for word in part.hypotheses[0].words])
    assert apart == written(kind, whole)
