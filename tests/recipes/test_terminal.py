"""What a person sees of training and of the demonstration."""

import re

import numpy as np
import pytest
from rich.console import Console

from asr.audio import write_wav
from asr.bundle import shipped
from asr.types import AsrError, Waveform
from recipes.common.export import export
from recipes.demo.processes import server
from recipes.demo.tour import _show_shipped

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
    with pytest.raises(AsrError, match="nowhere"), server(tmp_path / "nowhere", log):
        pass
    assert "nowhere" in log.read_text()
    assert capfd.readouterr().err == ""


def test_the_demo_begins_with_the_model_that_ships(toy, toy_data, tmp_path, monkeypatch, capsys):
    """Its samples' texts stand beside what it hears, with the time that it took."""
    model = tmp_path / "models" / shipped.NAME
    export(toy.checkpoint(toy_data, tmp_path / "toy.ckpt")[0], model, "toy")
    (model / "samples").mkdir()
    write_wav(model / "samples" / "a.wav", Waveform(np.zeros(8000, np.float32), 16_000))
    (model / "samples" / "samples.tsv").write_text("a.wav\tGOOD MORNING\n")
    monkeypatch.setattr(shipped, "PLACES", (tmp_path / "models",))
    _show_shipped(Console(width=200), tmp_path / "server.log")
    output = capsys.readouterr().out
    assert "GOOD MORNING" in output
    assert "│ 0.5 " in output
    assert re.search(r"of speech took \d+\.\d s", output)
    assert str(model / "README.md") in output.replace("\n", "")
