"""A miniature of TIMIT in the layout of LDC's disc."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000
PHONES = "h# sh ix q kcl k ae n gcl g h#"
SPEAKERS = {
    "train": ("dr1/fcjf0", "dr1/mdac0", "dr2/faem0", "dr2/marc0"),
    "test": ("dr1/faks0", "dr2/mdab0", "dr3/mtas0"),  # develops, is of the core test, is neither
}
SENTENCES = ("sa1", "sa2", "si650", "sx37")


def write_sentence(folder: Path, name: str, phones: str = PHONES) -> None:
    """A NIST SPHERE file with the phones beside it, as LDC's are: 16-bit PCM at 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = phones.split()
    ends = [800 * (n + 1) for n in range(len(labels))]
    rows = [f"{end - 800} {end} {label}\n" for end, label in zip(ends, labels, strict=True)]
    upper = folder.name.isupper()
    phone_file, audio = f"{name}.phn", f"{name}.wav"
    (folder / (phone_file.upper() if upper else phone_file)).write_text("".join(rows))
    samples = 0.1 * np.sin(np.arange(ends[-1]) * 0.1)
    path = folder / (audio.upper() if upper else audio)
    soundfile.write(path, samples, RATE, format="NIST", subtype="PCM_16")


@pytest.fixture
def write_timit(tmp_path) -> Callable[..., Path]:
    """Writes the miniature in either case; returns its folder."""

    def write(upper: bool = True, sentences: Sequence[str] = SENTENCES) -> Path:
        for part, speakers in SPEAKERS.items():
            for speaker in speakers:
                place = f"{part}/{speaker}"
                for name in sentences:
                    write_sentence(tmp_path / "timit" / (place.upper() if upper else place), name)
        return tmp_path / "timit"

    return write
