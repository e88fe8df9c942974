"""Miniature corpora: a second of tone for each recording, and `prepare` as a user calls it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse.cut import Cut

from recipes.common import cli
from recipes.common.data import manifest_path
from recipes.common.manifests import read_manifest
from recipes.custom.__main__ import RECIPE

RATE = 8_000


def tone(path: Path, seconds: float = 0.5, pitch: float = 300.0, **how: Any) -> Path:
    """Write a recording; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * pitch * t), RATE, **how)
    return path


class Prepared:
    """`prepare` of recipes.custom into a folder of its own, and what it wrote."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *options: object) -> int:
        words = ["prepare", "--data", str(self.data), *map(str, options)]
        return cli.main(RECIPE, words)

    def cuts(self, split: str) -> list[Cut]:
        return list(read_manifest(manifest_path(self.data, split)))

    @property
    def splits(self) -> dict[str, dict[str, Cut]]:
        """The cuts of each split that was written, by id."""
        written = [s for s in ("train", "dev", "test") if manifest_path(self.data, s).exists()]
        return {split: {cut.id: cut for cut in self.cuts(split)} for split in written}

    @property
    def all(self) -> dict[str, Cut]:
        return {name: cut for cuts in self.splits.values() for name, cut in cuts.items()}

    @property
    def texts(self) -> dict[str, str]:
        return {name: cut.supervisions[0].text for name, cut in self.all.items()}

    @property
    def speakers(self) -> dict[str, str | None]:
        return {name: cut.supervisions[0].speaker for name, cut in self.all.items()}


@pytest.fixture
def prepare(tmp_path) -> Prepared:
    return Prepared(tmp_path / "prepared")


@pytest.fixture
def write_tone() -> Callable[..., Path]:
    return tone
