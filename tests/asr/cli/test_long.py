"""`asr transcribe` on a recording of hours: memory, and when things are said."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from asr.long import transcribe_blocks
from asr.segmenter import SegmentOptions

RATE = 16_000
MIB = 1024 * 1024
PROGRAM = """
import sys
from asr.cli.main import main
status = main(["transcribe", *sys.argv[1:], "--format", "json"])
# Not getrusage, whose maximum counts the process that this one was begun by.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) * 1024, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
def test_three_hours_take_the_memory_of_minutes_and_words_are_told_when_they_are_said(
    tiny_bundle_path, tiny_recognizer, waveform_of, tmp_path
):
    """As samples they take 691 MB. The text stays, of 113 thousand tokens with times here.

    What a segment says is what is heard from its beginning on.
    """
    long, short = (tmp_path / f"{hours}.flac" for hours in ("long", "short"))
    piece = waveform_of(0, 67.0).samples  # so that segments do not repeat with it
    seconds = _write(long, piece, 3 * 3600)
    _write(short, piece, 300)
    _, little = _transcribed(tiny_bundle_path, short)
    found, peak = _transcribed(tiny_bundle_path, long)
    print(f"{peak / MIB:.0f} MiB at most, {little / MIB:.0f} for five minutes")
    assert peak - little < 128 * MIB
    assert peak < 512 * MIB
    segments = found["segments"]
    assert segments[0]["start"] == 0.0
    assert segments[-1]["end"] == found["duration"] == pytest.approx(seconds, abs=1e-3)
    assert [s["start"] for s in segments[1:]] == [s["end"] for s in segments[:-1]]
    for segment in segments[:-3:40]:
        first = round(segment["start"] * RATE)
        samples, _ = soundfile.read(long, start=first, frames=45 * RATE, dtype="float32")
        alone = transcribe_blocks(
            tiny_recognizer, [samples], tiny_recognizer.decoder(), SegmentOptions()
        ).segments[0]
        [heard, *_] = alone.hypotheses
        assert segment["text"] == heard.text
        words = segment["hypotheses"][0]["words"]
        assert [word["text"] for word in words] == [word.text for word in heard.words]
        starts = [first / RATE + word.start for word in heard.words]
        assert [word["start"] for word in words] == pytest.approx(starts, abs=1e-3)
    [whole] = found["hypotheses"]
    assert whole["words"] == [w for s in segments for w in s["hypotheses"][0]["words"]]


def _write(path, piece, seconds):
    """``piece`` again and again, at least for so long; how long it is."""
    times = int(np.ceil(seconds * RATE / len(piece)))
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(times):
            file.write(piece)
    return times * len(piece) / RATE


def _transcribed(bundle, path):
    """What is said of one file, and the most bytes that it took."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), int(done.stderr.splitlines()[-1])
