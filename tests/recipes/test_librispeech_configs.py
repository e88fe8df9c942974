"""The configurations for larger parts of LibriSpeech are valid, and as large as their page says."""

from pathlib import Path

import pytest

from asr.tokens import Tokenizer
from recipes.common.data import tokens_path
from recipes.common.fit_cli import SpeechCLI
from recipes.librispeech.__main__ import RECIPE

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*will be overridden by.*"),
]

FOLDER = RECIPE.config.parent / "configs"
OUTPUTS = {"100h": 500, "960h": 1000}


@pytest.mark.parametrize("name", OUTPUTS)
def test_they_have_the_stated_number_of_weights(name, tmp_path):
    units = [f"t{number}" for number in range(OUTPUTS[name] - 1)]  # beside the blank
    Tokenizer.from_texts([" ".join(units)], "phones").save(tokens_path(tmp_path))
    where = ["--data.data_dir", str(tmp_path), "--run_dir", str(tmp_path / "run")]
    cli = SpeechCLI(RECIPE, ["--config", str(FOLDER / f"{name}.yaml"), *where])
    weights = sum(weight.numel() for weight in cli.model.model.parameters())
    page = (FOLDER.parent / "RESULTS.md").read_text(encoding="utf-8")
    assert f"{weights:,}" in page


def test_small_is_the_default():
    assert (FOLDER / "small.yaml").read_bytes() == RECIPE.config.read_bytes()
    assert {path.stem for path in Path(FOLDER).glob("*.yaml")} == {"small", *OUTPUTS}
