"""Peers on the same utterances: what is written of them, with a peer that says one sentence."""

import json

import pytest

from asr.scoring import word_errors
from asr.types import ConfigError
from benchmarks.peers import choose, in_one_form, main


def test_a_peer_is_run_scored_and_kept(manifest, peer, tmp_path, capsys):
    output = tmp_path / "results"
    main([str(manifest), "--output", str(output), "--run", "pocketsphinx"])
    first = capsys.readouterr().out
    header, _, row, *_ = first.splitlines()
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert cells["| system"] == "| pocketsphinx"
    assert cells["utterances"] == "2"
    assert cells["WER % (95 % by speaker)"] == "12.50 (0.00 to 25.00)"
    assert cells["model"] == "0.0 MB"
    assert cells["2 threads"] == ""
    rows = [json.loads(line) for line in (output / "pocketsphinx.jsonl").read_text().splitlines()]
    assert [row["speaker"] for row in rows] == ["speaker-a", "speaker-b"]
    facts = json.loads((output / "pocketsphinx.json").read_text())
    assert facts["bytes"] == 3000
    assert facts["spent"]["1"]["audio"] == pytest.approx(2.0)

    # Two threads are measured beside it, and the rows of one stay.
    more = ["--run", "pocketsphinx", "--threads", "2", "--limit", "1"]
    main([str(manifest), "--output", str(output), *more])
    cells = capsys.readouterr().out.splitlines()[2].split(" | ")
    assert cells[1:3] == ["2", "12.50 (0.00 to 25.00)"]
    assert float(cells[4]) >= 0.0


def test_what_is_not_installed_is_told(manifest, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "pocketsphinx.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(package))
    with pytest.raises(ConfigError, match="is its package installed there"):
        main([str(manifest), "--output", str(tmp_path / "out"), "--run", "pocketsphinx"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Mr. Smith's 2 dogs, well-fed.", "MISTER SMITH'S TWO DOGS WELL FED"),
        ("Mrs. Jones didn’t go!", "MISSIS JONES DIDN'T GO"),
    ],
)
def test_writing_makes_no_errors(written, said):
    assert word_errors(in_one_form(said), in_one_form(written)).total == 0


def test_the_same_utterances_are_chosen_each_time():
    class Cut:
        def __init__(self, name):
            self.id = name

    cuts = [Cut(f"{number:03}") for number in range(50)]
    chosen = [cut.id for cut in choose(cuts, 20)]
    assert len(set(chosen)) == 20
    assert chosen == [cut.id for cut in choose(cuts[::-1], 20)]
    assert len(choose(cuts, 100)) == 50
