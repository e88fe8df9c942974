"""A whole decode beside its search, of the model that ships."""

from __future__ import annotations

import sys

from benchmarks import hypotheses


def test_it_times_the_models_own_decoder_and_tokens_alone(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hypotheses", "--most", "1", "--rounds", "1"])
    hypotheses.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if "wide" in line]
    assert [row.split(",")[0].strip("| ") for row in rows] == [
        "the bundle's own",
        "tokens alone",
        "tokens alone",
    ]
