"""Recordings of any length: what is said in them, when, and in how much memory."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch

from asr.decoding import Decoder, DecoderOptions, make_decoder
from server.api import upload
from server.engine.spool import Spool
from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb

RATE = 16_000
FRAME = 320
MIB = 1024 * 1024
RAW = pb.RecognitionConfig(
    encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=RATE, enable_word_time_offsets=True
)
FILE = pb.RecognitionConfig(enable_word_time_offsets=True)
LETTERS = "abcde"
FRAMES = {letter: 0.1 * (2 + number) for number, letter in enumerate(LETTERS)} | {" ": 0.1}
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def hearing(stand_in):
    """A recogniser that hears loudness, a frame at a time, and decodes as others do."""

    class Hearing(stand_in):
        def log_probs(self, waveforms):
            self.before("model", waveforms)
            rows = [heard(waveform.samples) for waveform in waveforms]
            lengths = torch.tensor([len(row) for row in rows])
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

        def decoder(self, options, phrases=()):
            options = options or self.bundle.decoder
            made = make_decoder(options, self.tokenizer, self.seconds_per_frame)
            return Told(made, options, self.before)

    return Hearing


@dataclass(frozen=True)
class Told:
    """A decoder that tells of what it is asked."""

    made: Decoder
    options: DecoderOptions
    before: Callable[[str, object], None]

    def decode(self, log_probs, lengths, stop=None):
        self.before("decode", (len(log_probs[0]), stop))
        return self.made.decode(log_probs, lengths, stop)


def heard(samples):
    """Log-probabilities ``(T, V)``: blank, space or the letter that is as loud as a frame."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    tokens = torch.from_numpy(np.rint(10 * np.abs(frames).max(axis=1, initial=0))).long()
    rows = torch.full((len(frames), 2 + len(LETTERS)), -20.0)
    rows[torch.arange(len(frames)), tokens.clamp(max=1 + len(LETTERS))] = -1e-6
    return rows


def spoken(text, rng):
    """Samples of a sentence: each letter for 3 frames, and a frame of silence after it."""
    levels = [level for letter in text for level in (*3 * [FRAMES[letter]], 0.0)]
    signs = rng.choice([-1.0, 1.0], size=(len(levels), FRAME))
    return (np.array(levels)[:, None] * signs).ravel()


def recording(seconds, seed=0):
    """16-bit samples of sentences with pauses of faint noise, and each with its first frame."""
    rng = np.random.default_rng(seed)
    parts, sentences, frame = [], [], 0
    while frame * FRAME < seconds * RATE:
        words = ["".join(rng.choice(list(LETTERS), rng.integers(1, 6))) for _ in range(12)]
        text = " ".join(words)
        pause = 0.01 * rng.uniform(-1, 1, int(rng.integers(40, 80)) * FRAME)
        sentences.append((text, frame))
        parts += [spoken(text + " ", rng), pause]  # the space is what a network says of a pause
        frame += sum(map(len, parts[-2:])) // FRAME
    return np.rint(32_767 * np.concatenate(parts)).astype("<i2"), sentences


def expected_words(recognizer, samples, sentences):
    """Words with their times: each sentence is recognised alone."""
    decoder = make_decoder(recognizer.bundle.decoder, recognizer.tokenizer, 0.02)
    found = []
    for (text, first), (_, end) in zip(
        sentences, [*sentences[1:], ("", len(samples) // FRAME)], strict=True
    ):
        rows = heard(samples[first * FRAME : end * FRAME] / np.float32(32_768))
        [[hypothesis]] = decoder.decode(rows[None], torch.tensor([len(rows)]))
        assert hypothesis.text == text
        words = [word.shifted(0.02 * first) for word in hypothesis.words]
        found += [(word.text, round(word.start, 6), round(word.end, 6)) for word in words]
    return found


def words_of(result):
    return [
        (word.word, round(seconds(word.start_time), 6), round(seconds(word.end_time), 6))
        for word in result.alternatives[0].words
    ]


def seconds(duration):
    return duration.ToNanoseconds() / 1e9


@pytest.mark.parametrize(
    ("method", "length"),
    [("TranscribeChunks", 31), ("TranscribeChunks", 700), ("TranscribeStream", 700)],
)
def test_long_audio_says_what_its_sentences_say_when_they_say_it(
    serving, hearing, transcribe_by, method, length
):
    """31 s are decoded at once, 700 s by blocks."""
    samples, sentences = recording(length)
    recognizer = hearing()
    with serving(recognizer) as running:
        code, result = transcribe_by(running.stub, method, RAW, samples.tobytes())
    assert code == OK, result
    [alternative] = result.alternatives
    assert alternative.transcript == " ".join(text for text, _ in sentences)
    assert words_of(result) == expected_words(recognizer, samples, sentences)
    assert seconds(result.result_end_time) == pytest.approx(len(samples) / RATE, abs=1e-9)


def test_files_are_read_by_blocks_from_where_they_are_kept(
    serving, hearing, transcribe_by, file_of, monkeypatch
):
    monkeypatch.setattr(Spool.__init__, "__defaults__", (b"", MIB))
    samples, sentences = recording(640)
    audio = file_of(samples, RATE, "FLAC", "PCM_16")
    assert len(audio) > MIB
    with serving(hearing()) as running:
        code, result = transcribe_by(running.stub, "TranscribeChunks", FILE, audio)
    assert code == OK, result
    assert result.alternatives[0].transcript == " ".join(text for text, _ in sentences)


def test_a_message_may_hold_more_than_can_be_decoded_at_once(serving, stand_in, transcribe_by):
    audio = b"\xff\x7f" * (2 * MIB - 100)
    config = pb.RecognitionConfig(encoding="AUDIO_ENCODING_MULAW", sample_rate_hertz=4_000)
    with serving(stand_in()) as running:
        code, result = transcribe_by(running.stub, "Transcribe", config, audio)
    assert code == OK, result
    assert seconds(result.result_end_time) == len(audio) / 4_000


def own_memory(name):
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(name)) * 1024


@pytest.mark.parametrize("minutes", [40, pytest.param(180, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_audio(serving, hearing, minutes, monkeypatch):
    """As samples three hours take 691 MB. What is counted are server and client together."""
    monkeypatch.setattr(Spool.__init__, "__defaults__", (b"", MIB))
    samples, sentences = recording(60)
    minute, text = samples.tobytes(), " ".join(text for text, _ in sentences)

    def requests():
        yield pb.TranscribeChunksRequest(config=RAW)
        for _ in range(minutes):
            for start in range(0, len(minute), MIB):
                yield pb.TranscribeChunksRequest(audio_content=minute[start : start + MIB])

    with serving(hearing()) as running:
        list(running.stub.TranscribeStream(requests_of(RAW, minute), timeout=60))  # warm
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = own_memory("VmRSS")
        [result] = running.stub.TranscribeChunks(requests(), timeout=600).results
        growth = own_memory("VmHWM") - before
    assert result.alternatives[0].transcript == " ".join([text] * minutes)
    assert growth < 48 * MIB


def requests_of(config, audio):
    yield pb.TranscribeStreamRequest(config=config)
    for start in range(0, len(audio), MIB):
        yield pb.TranscribeStreamRequest(audio_content=audio[start : start + MIB])


def chunks(config, audio):
    yield pb.TranscribeChunksRequest(config=config)
    for start in range(0, len(audio), MIB):
        yield pb.TranscribeChunksRequest(audio_content=audio[start : start + MIB])


@pytest.mark.timed
def test_a_cancelled_call_ends_within_a_tenth_of_a_second(serving, hearing, children_of):
    """Its search is told, its process is gone, and so are its place and its file."""
    searching, told = threading.Event(), threading.Event()
    times: list[float] = []

    def search(stage, given):
        if stage == "decode":
            searching.set()
            while not given[1].flag[0]:
                time.sleep(0.001)
            times.append(time.monotonic())
            told.set()

    samples, _ = recording(700)
    with serving(hearing(before=search)) as running:
        files = open_files()
        workers = set(children_of(os.getpid()))
        call = running.stub.TranscribeChunks.future(chunks(RAW, samples.tobytes()), timeout=60)
        assert searching.wait(30)
        [reader] = set(children_of(os.getpid())) - workers
        cancelled = time.monotonic()
        call.cancel()
        assert told.wait(30)
        while Path(f"/proc/{reader}").exists():
            assert time.monotonic() - cancelled < 5
        assert time.monotonic() - cancelled < 0.1
        running.settle(0)
        assert open_files() <= files
    assert times[0] - cancelled < 0.1


def open_files():
    """Temporary files that this process has open."""
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {link for link in links if link.endswith("(deleted)")}


def test_a_long_recording_keeps_no_turn_from_short_ones(serving, hearing):
    """There is one turn, and the long call waits in its search."""
    searching, goes_on = threading.Event(), threading.Event()

    def search(stage, given):
        if stage == "decode" and given[0] > 200:
            searching.set()
            assert goes_on.wait(60)

    samples, sentences = recording(700)
    with serving(hearing(before=search), running=1, waiting=1, search_threads=2) as running:
        long = running.stub.TranscribeChunks.future(chunks(RAW, samples.tobytes()), timeout=60)
        assert searching.wait(30)
        short = pb.TranscribeRequest(config=RAW, audio=samples[: 3 * RATE].tobytes())
        assert running.stub.Transcribe(short, timeout=30).results
        goes_on.set()
        [result] = long.result(timeout=60).results
    assert len(words_of(result)) == 12 * len(sentences)


def test_more_text_than_fits_into_a_message_is_refused_when_it_is_known(serving, stand_in):
    """Each segment says a megabyte, and there would be 20 of them or more."""
    segments: list[int] = []

    class Talker(stand_in):
        def decode(self, decoder, lengths, stop):
            segments.append(int(lengths[0]))
            [[hypothesis]] = super().decode(decoder, lengths, stop)
            object.__setattr__(hypothesis, "text", "a" * MIB)
            return [[hypothesis]]

    with serving(Talker()) as running:
        call = running.stub.TranscribeChunks
        with pytest.raises(grpc.RpcError) as caught:
            call(chunks(RAW, recording(620)[0].tobytes()), timeout=60)
    assert caught.value.code() == INVALID
    assert f"more than the {MESSAGE_LIMIT} bytes" in caught.value.details()
    assert len(segments) == 4


@pytest.mark.parametrize(("cut", "words"), [(1000, "cut short"), (0, "header says 16000")])
def test_what_is_wrong_with_long_audio_is_told(
    serving, hearing, transcribe_by, file_of, cut, words
):
    audio = file_of(recording(640)[0], RATE, "WAV", "PCM_16")
    config = pb.RecognitionConfig(sample_rate_hertz=0 if cut else 8_000)
    with serving(hearing()) as running:
        code, details = transcribe_by(
            running.stub, "TranscribeChunks", config, audio[: len(audio) - cut]
        )
    assert code == INVALID
    assert words in details


def test_prefix_search_of_long_audio_is_refused_before_it_is_computed(serving, stand_in):
    computed: list[object] = []
    config = pb.RecognitionConfig(
        encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=RATE, decoder="prefix"
    )
    recognizer = stand_in(before=lambda stage, given: computed.append(stage))
    with serving(recognizer) as running, pytest.raises(grpc.RpcError) as caught:
        running.stub.TranscribeChunks(chunks(config, bytes(620 * 2 * RATE)), timeout=60)
    assert caught.value.code() == INVALID
    assert "up to 30 s" in caught.value.details()
    assert computed == []


def test_a_full_disk_is_told_and_harms_nobody(serving, stand_in, transcribe_by, monkeypatch):
    monkeypatch.setattr(Spool.__init__, "__defaults__", (b"", MIB))

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with serving(stand_in()) as running:
        code, details = transcribe_by(running.stub, "TranscribeChunks", RAW, bytes(2 * MIB))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "no room" in details
        assert transcribe_by(running.stub, "TranscribeChunks", RAW, bytes(MIB))[0] == OK


def test_what_a_full_disk_holds_back_does_not_keep_an_upload_from_its_end(monkeypatch):
    """The file's buffer is written once more when it is closed."""

    class Full:
        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool()
    spool._file = Full()
    spool.close()


def test_bytes_stay_in_order_where_they_move_into_a_file():
    pieces = [bytes([number]) * 1000 for number in range(10)]

    async def use():
        spool = Spool(most=4500)
        for count, piece in enumerate(pieces, 1):
            await spool.add(piece)
            assert (spool.data is None) == (count > 4)
        file = await spool.file()
        assert os.pread(file, 20_000, 0) == b"".join(pieces)
        spool.close()
        return len(spool)

    assert asyncio.run(use()) == 10_000


def test_the_limit_of_bytes_is_that_of_the_definition():
    text = (Path(__file__).parents[3] / "proto/asr/v1/speech.proto").read_text(encoding="utf-8")
    assert f"({upload.AUDIO_BYTES:,} bytes)" in text
    assert f"{upload.UPLOAD_SECONDS:,.0f} seconds" in text
