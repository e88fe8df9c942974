"""What a frame of features is: the options of the front end."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from asr.options import from_values, is_integer, is_number
from asr.types import ConfigError

__all__ = ["FeatureConfig"]

MOST = {  # of what is counted
    "sample_rate": 1_000_000,
    "num_mels": 4096,
    "num_ceps": 4096,
    "stack": 1000,
    "subsample": 1000,
}
MOST_DB = 1000.0
NUMBERS = ("frame_length_ms", "frame_shift_ms", "preemphasis", "low_hz", "high_hz")
LEAST_KALDI_MELS = 4  # torchaudio.compliance.kaldi computes no fewer
CHOICES = {
    "kind": ("fbank", "mfcc"),
    "deltas": (0, 1, 2),
    "normalisation": ("none", "utterance", "speaker", "global"),
    "style": ("default", "kaldi"),
    "backend": ("torchaudio", "librosa"),
}


@dataclass(frozen=True)
class FeatureConfig:
    """What a frame of features is.

    Attributes:
        kind: ``"fbank"``, log energies of ``num_mels`` mel filters, or ``"mfcc"``, their cepstral
            coefficients 1 to ``num_ceps``.
        sample_rate: hertz.
        frame_length_ms: length of the window.
        frame_shift_ms: from one frame to the next.
        num_mels: mel filters (HTK's mel scale).
        num_ceps: cepstral coefficients.
        energy: append the frame's log energy.
        deltas: 1 appends first, 2 also second differences.
        stack: neighbouring frames joined into one.
        subsample: keep each n-th stacked frame.
        normalisation: CMVN, zero mean and unit variance of each value: by ``"utterance"``,
            ``"speaker"``, the corpus (``"global"``), or ``"none"``.
        silence_db: statistics of CMVN are of the frames down to so many decibels below the loudest
            one of their utterance (or stream, so far); fainter ones are silence. None: of all.
        range_db: add noise to each filter's energy, so many decibels below the loudest frame of the
            utterance (or stream, so far). What is fainter, digital silence too, comes out as this
            noise, and features hardly depend on the level of the recording. None: add nothing.
        style: ``"default"``, or ``"kaldi"`` for Kaldi's window, scale and mel filters.
        backend: ``"torchaudio"``, or ``"librosa"`` for the slow reference.
        preemphasis: coefficient of the high-pass before the window; 0 for none.
        low_hz: lower end of the lowest filter.
        high_hz: upper end of the highest filter; 0 for half the sample rate.
    """

    kind: str = "fbank"
    sample_rate: int = 16_000
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    num_mels: int = 40
    num_ceps: int = 12
    energy: bool = False
    deltas: int = 0
    stack: int = 1
    subsample: int = 1
    normalisation: str = "utterance"
    silence_db: float | None = None
    range_db: float | None = None
    style: str = "default"
    backend: str = "torchaudio"
    preemphasis: float = 0.97
    low_hz: float = 20.0
    high_hz: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if type(value) is not type(choices[0]) or value not in choices:  # True is no 1
                raise ConfigError(
                    f"feature option {name} is {value!r}",
                    remedy=f"choose one of {', '.join(map(str, choices))}",
                )
        for name, most in MOST.items():
            value = getattr(self, name)
            if not is_integer(value) or not 1 <= value <= most:
                raise ConfigError(
                    f"feature option {name} is {str(value)[:100]}",
                    remedy=f"give an integer from 1 to {most}",
                )
        for name in NUMBERS:
            if not is_number(getattr(self, name)):
                raise ConfigError(
                    f"feature option {name} is {str(getattr(self, name))[:100]}",
                    remedy="give a number",
                )
        if not isinstance(self.energy, bool):
            raise ConfigError(
                f"feature option energy is {str(self.energy)[:100]}", remedy="give true or false"
            )
        self._check_signal()

    def _check_signal(self) -> None:
        if not 0 < self.frame_shift_ms <= self.frame_length_ms <= 1000 or self.hop_length < 1:
            raise ConfigError(
                f"frames of {self.frame_length_ms} ms every {self.frame_shift_ms} ms",
                remedy="use 0 < shift <= length <= 1000 ms and at least one sample a shift",
            )
        if not 0 <= self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"mel filters from {self.low_hz} to {self.top_hz} Hz",
                remedy=f"use 0 <= low_hz < high_hz <= {self.sample_rate / 2:g}",
            )
        if not 0 <= self.preemphasis < 1:
            raise ConfigError(
                f"preemphasis is {self.preemphasis}", remedy="give a number in [0, 1)"
            )
        if self.kind == "mfcc" and self.num_ceps >= self.num_mels:
            raise ConfigError(
                f"{self.num_ceps} cepstral coefficients of {self.num_mels} mel filters",
                remedy="use more filters or fewer coefficients",
            )
        if self.silence_db is not None:
            self._check_silence(self.silence_db)
        if self.range_db is not None:
            self._check_range(self.range_db)
        if self.style == "kaldi":
            self._check_kaldi()

    def _check_kaldi(self) -> None:
        if self.backend == "librosa":
            raise ConfigError(
                "librosa has no Kaldi style", remedy="use the torchaudio backend with it"
            )
        if self.num_mels < LEAST_KALDI_MELS:
            raise ConfigError(
                f"feature option num_mels is {self.num_mels} with style: kaldi",
                remedy=f"give {LEAST_KALDI_MELS} filters or more",
            )
        if self.win_length < 2:
            raise ConfigError(
                f"frame_length_ms is {self.frame_length_ms} with style: kaldi, one sample",
                remedy="give two samples or more",
            )

    def _check_silence(self, silence_db: float) -> None:
        if not is_number(silence_db) or not 0 < silence_db <= MOST_DB:  # false for NaN too
            raise ConfigError(
                f"feature option silence_db is {str(silence_db)[:100]}",
                remedy="give decibels above 0, such as 30, or null",
            )
        if self.kind == "mfcc" and not self.energy:
            raise ConfigError(
                "silence_db asks how loud frames are, which cepstra do not tell",
                remedy="add energy: true",
            )

    def _check_range(self, range_db: float) -> None:
        if not is_number(range_db) or not 0 < range_db <= MOST_DB:  # false for NaN too
            raise ConfigError(
                f"feature option range_db is {str(range_db)[:100]}",
                remedy="give decibels above 0, such as 60, or null",
            )
        if self.kind != "fbank" or self.energy or self.deltas:
            raise ConfigError(
                "range_db adds noise to mel filters, and there are other values",
                remedy="use kind: fbank, energy: false and deltas: 0 with it",
            )
        if self.normalisation not in ("utterance", "speaker"):
            raise ConfigError(
                f"range_db is of the utterance, and normalisation is {self.normalisation!r}",
                remedy="use normalisation: utterance or speaker with it",
            )

    @classmethod
    def preset(cls, name: str) -> FeatureConfig:
        """The front end of a paper.

        ``"graves2006"``: 12 cepstra of 26 filters and log energy with first differences, 26 in all,
        from frames of 10 ms that overlap by 5 ms (Graves et al. 2006, section 5.1).
        ``"graves2013"``: 40 mel filters and energy with first and second differences, 123 in all
        (Graves et al. 2013, section 4, which does not give the length of its frames).

        Raises:
            ConfigError: there is no such preset.
        """
        presets = {
            "graves2006": cls(
                kind="mfcc",
                frame_length_ms=10.0,
                frame_shift_ms=5.0,
                num_mels=26,
                energy=True,
                deltas=1,
                normalisation="global",
            ),
            "graves2013": cls(energy=True, deltas=2, normalisation="global"),
        }
        if name not in presets:
            raise ConfigError(
                f"unknown feature preset {name!r}", remedy=f"choose {' or '.join(presets)}"
            )
        return presets[name]

    @property
    def win_length(self) -> int:
        """Samples of the window."""
        return round(self.sample_rate * self.frame_length_ms / 1000)

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        return round(self.sample_rate * self.frame_shift_ms / 1000)

    @property
    def n_fft(self) -> int:
        """Points of the Fourier transform: the window's length, up to a power of two."""
        return int(2 ** math.ceil(math.log2(max(2, self.win_length))))

    @property
    def frame_span(self) -> int:
        """Samples a frame needs: Kaldi counts by the window, the others by the transform."""
        return self.win_length if self.style == "kaldi" else self.n_fft

    @property
    def top_hz(self) -> float:
        """Upper end of the highest filter."""
        return self.high_hz or self.sample_rate / 2

    @property
    def frame_size(self) -> int:
        """Values of a frame before stacking."""
        base = (self.num_mels if self.kind == "fbank" else self.num_ceps) + self.energy
        return base * (1 + self.deltas)

    @property
    def size(self) -> int:
        """F, values of a frame of the result."""
        return self.frame_size * self.stack

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one frame of the result to the next."""
        return self.subsample * self.hop_length / self.sample_rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: a key is unknown, or a value impossible.
        """
        return from_values(cls, values, "feature", ConfigError)
