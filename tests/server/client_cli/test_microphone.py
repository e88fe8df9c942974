"""Speech of a microphone, which a stand-in for sounddevice plays."""

from __future__ import annotations

import json
import signal
import sys
from types import ModuleType, SimpleNamespace

import pytest

from server.client_cli.main import main

BLOCKS = [bytes([n, 0]) * 160 for n in range(5)]


class FakeSounddevice(ModuleType):
    """Plays ``blocks`` as soon as a stream is opened, then does ``then``."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks=BLOCKS, then=lambda: None, overflow=False, error=None):
        super().__init__("sounddevice")
        self.blocks, self.then, self.overflow, self.error = blocks, then, overflow, error
        self.opened: list[dict[str, object]] = []
        self.closed = 0

    def RawInputStream(self, callback, **options):  # noqa: N802
        if self.error:
            raise self.PortAudioError(self.error)
        self.opened.append(options)
        return FakeStream(self, callback)


class FakeStream:
    def __init__(self, device: FakeSounddevice, callback) -> None:
        self.device, self.callback = device, callback

    def __enter__(self) -> FakeStream:
        status = SimpleNamespace(input_overflow=self.device.overflow)
        for block in self.device.blocks:
            # A buffer that PortAudio uses again.
            buffer = bytearray(block)
            self.callback(memoryview(buffer), len(block) // 2, None, status)
            buffer[:] = bytes(len(buffer))
        self.device.then()
        return self

    def __exit__(self, *_: object) -> None:
        self.device.closed += 1


def interrupt() -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def install(monkeypatch):
    """``install(blocks, then)``: the stand-in in the place of sounddevice."""

    def put(*args, **kwargs) -> FakeSounddevice:
        device = FakeSounddevice(*args, **kwargs)
        monkeypatch.setitem(sys.modules, "sounddevice", device)
        return device

    return put


@pytest.fixture(autouse=True)
def handler():
    """No test leaves another handler behind than it found."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_ends_the_recording_and_the_transcript_is_printed(fake, install, capsys):
    device = install(then=interrupt)
    assert main(["--microphone", "--address", fake.address]) == 0
    assert capsys.readouterr() == ("1600 bytes\n", "")
    assert device.opened == [{"samplerate": 16000, "channels": 1, "dtype": "int16"}]
    assert device.closed == 1
    heard = fake.heard[-1]
    assert heard.audio == b"".join(BLOCKS)
    assert (heard.config.encoding, heard.config.sample_rate_hertz) == (1, 16000)
    assert heard.config.audio_channel_count == 1


def test_a_microphone_is_heard_segment_by_segment(fake, install, capsys):
    """The pieces are 320 bytes each, and the fake service says so of each."""
    install(then=interrupt)
    assert main(["--microphone", "--stream", "--address", fake.address]) == 0
    assert capsys.readouterr() == ("320 320 320 320 320\n", "")
    live = fake.heard[-1].live
    assert (live.config.encoding, live.config.sample_rate_hertz) == (1, 16000)


def test_the_rate_is_the_models_or_the_one_given(fake, install, capsys):
    for arguments, rate in [(["--model", "phones"], 8000), (["--sample-rate", "44100"], 44100)]:
        device = install(then=interrupt)
        assert main(["--microphone", "--address", fake.address, *arguments]) == 0
        assert device.opened[0]["samplerate"] == rate
        assert fake.heard[-1].config.sample_rate_hertz == rate


def test_formats_have_the_name_of_the_microphone(fake, install, capsys):
    install(then=interrupt)
    assert main(["--microphone", "--address", fake.address, "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["file"], record["text"]) == ("microphone", "1600 bytes")
    assert len(record["hypotheses"][0]["words"]) == 2


def test_a_recording_ends_at_the_longest_audio(fake, install, capsys):
    """The service takes 600 seconds, 2 bytes at each of 10 hertz: 12,000 of 16,000 bytes."""
    install(blocks=BLOCKS * 10)
    assert main(["--microphone", "--sample-rate", "10", "--address", fake.address]) == 0
    assert capsys.readouterr().out == "12000 bytes\n"


def test_a_second_interrupt_ends_the_command(fake, gate, install, capsys):
    fake.speech.hook = lambda _: (interrupt(), gate.wait(30))
    install(then=interrupt)
    assert main(["--microphone", "--address", fake.address]) == 130
    gate.set()


def test_lost_blocks_are_told(fake, install, capsys):
    install(then=interrupt, overflow=True)
    assert main(["--microphone", "--address", fake.address]) == 0
    assert capsys.readouterr().err == "asr-client: this machine was too slow: parts are missing\n"


def test_without_the_package_the_extra_is_named(fake, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["--microphone", "--address", fake.address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "peephole-asr[microphone]" in line
    assert "TranscribeStream" not in fake.methods


def test_a_microphone_that_cannot_be_used_is_told(fake, install, capsys):
    install(error="Invalid sample rate")
    assert main(["--microphone", "--address", fake.address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "at 16000 Hz: Invalid sample rate" in line
    assert "--sample-rate" in line


def test_a_failing_server_is_told(serve_fake, failure, install, capsys):
    """Without anyone's Ctrl-C."""
    fake = serve_fake(None, failure("INVALID_ARGUMENT", "too loud", after=2))
    device = install()
    options = ["--microphone", "--sample-rate", "16000", "--address", fake.address]
    assert main(options) == 2
    assert capsys.readouterr().err == "asr-client: error: too loud\n"
    assert device.opened
