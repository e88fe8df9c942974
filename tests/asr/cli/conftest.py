"""What tests of commands share: recordings, good and bad, and a way to run a command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asr.audio import read_audio, write_wav
from asr.cli.main import main

SECONDS = (1.1, 0.3, 0.9, 0.3, 0.6)


@pytest.fixture(scope="module")
def files(tmp_path_factory, waveform_of) -> list[str]:
    folder = tmp_path_factory.mktemp("audio")
    paths = [folder / f"u{index}.wav" for index in range(len(SECONDS))]
    for index, (path, seconds) in enumerate(zip(paths, SECONDS, strict=True)):
        write_wav(path, waveform_of(index + 10, seconds))
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def texts(tiny_recognizer, files) -> list[str]:
    return [tiny_recognizer.recognize([read_audio(file)])[0].text for file in files]


@pytest.fixture
def bad(tmp_path) -> dict[str, str]:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no audio at all, " * 20)
    (tmp_path / "short.wav").write_bytes(b"")
    return {name: str(tmp_path / f"{name}.wav") for name in ("empty", "text", "missing")}


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs ``asr`` with its arguments; returns the exit status and what was printed, and where."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run
