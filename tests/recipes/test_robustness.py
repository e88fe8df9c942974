"""What the demo's model promises where silence, level and line are not those of its corpus."""

import csv

import pytest

from recipes.common.cli import main, prepare
from recipes.demo.__main__ import RECIPE
from recipes.demo.corpus import synthesise

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_silence_level_and_line_cost_little_and_nothing_is_heard_where_nobody_speaks(tmp_path):
    corpus, data, run = (tmp_path / name for name in ("corpus", "data", "run"))
    synthesise(corpus)
    prepare(RECIPE, corpus, data)
    assert main(RECIPE, ["fit", "--data.data_dir", str(data), "--run_dir", str(run)]) == 0
    where = ["--run", str(run), "--data", str(data), "--results", str(tmp_path)]
    names = "silence,hiss,gain,8khz,mulaw"
    assert main(RECIPE, ["evaluate", *where, "--split", "test", "--conditions", names]) == 0
    clean, *conditions = table_of(tmp_path / "test.greedy.conditions.csv")
    assert float(clean["error_rate"]) < 0.15
    for each in conditions:
        most = 0.01 if each["condition"] in ("silence", "hiss", "gain") else 0.05
        assert float(each["rise"]) < most, each
    for audio in table_of(tmp_path / "test.greedy.no-words.csv"):
        assert audio["with_words"] == "0", audio
