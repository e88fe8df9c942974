"""What a person sees of training and of the demonstration."""

import re

import pytest

from asr.types import AsrError
from recipes.demo.tour import _server

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

LINE = (
    r"epoch {} of 2: loss \d+\.\d+, development loss \d+\.\d+, WER \d+\.\d\d %( \(best\))?, \d.* s"
)


@pytest.mark.parametrize("bar", ["true", "false"])
def test_each_epoch_leaves_one_line(toy, toy_data, tmp_path, capsys, bar):
    options = ["--trainer.max_epochs", "2", "--trainer.enable_progress_bar", bar]
    assert toy.fit(toy_data, tmp_path / "run", *options) == 0
    output = capsys.readouterr().out
    for epoch in (1, 2):
        assert len(re.findall(LINE.format(epoch), output)) == 1
    assert ("|" in output and "8/8" in output) == (bar == "true")  # a total, known in advance
    assert re.search(r"epoch 1 of 2.*about .* left", output)


def test_a_server_that_does_not_start_says_why_in_its_log(tmp_path, capfd):
    log = tmp_path / "server.log"
    with pytest.raises(AsrError, match="nowhere"), _server(tmp_path / "nowhere", log):
        pass
    assert "nowhere" in log.read_text()
    assert capfd.readouterr().err == ""
