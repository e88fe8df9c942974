"""A model of each set of labels on the miniature: from `prepare` to error rates and boundaries."""

import pytest

from recipes.common.cli import main
from recipes.timit import boundaries
from recipes.timit.__main__ import RECIPE

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"),
    *("--model.network.hidden_size", "8", "--model.network.num_layers", "1"),
]


def test_61_labels_are_trained_and_scored_as_asked(write_timit, tmp_path, capsys):
    corpus, data, run = (str(p) for p in (write_timit(), tmp_path / "data", tmp_path / "run"))
    assert main(RECIPE, ["prepare", "--corpus", corpus, "--data", data, "--labels", "61"]) == 0
    assert main(RECIPE, ["fit", "--data.data_dir", data, "--run_dir", run, *SMALL]) == 0
    assert "non-standard" in capsys.readouterr().out
    for options, convention in (
        (["--split", "test-complete"], "39 classes, every sil counts"),
        (["--scoring", "61"], "61 labels, every one counts"),
        (["--corpus", corpus, "--split", "test", "--scoring", "optional-sil"], "sil optional"),
        (["--corpus", corpus, "--split", "test-complete", "--scoring", "61"], "61 labels"),
    ):
        assert main(RECIPE, ["evaluate", "--run", run, "--data", data, *options]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert convention in told
        assert "non-standard" in told
    assert boundaries.main(["--run", run, "--corpus", corpus]) == 0
    told = capsys.readouterr().out
    assert "10 ms" in told
    assert "non-standard" in told
