"""Our server beside a peer behind gRPC, which says one sentence."""

from __future__ import annotations

import pytest

from asr.types import ConfigError
from benchmarks.served_peers import main


def test_servers_are_asked_scored_and_compared(manifest, peer, tiny_bundle, capsys):
    systems = ["--systems", "pocketsphinx", "ours", "--bundle", str(tiny_bundle)]
    main([str(manifest), *systems, "--clients", "2", "--rounds", "2"])
    printed = capsys.readouterr().out
    assert "2 utterances, 0.0 min" in printed
    header, _, *rows = [line for line in printed.splitlines() if line.startswith("|")]
    names = [name.strip() for name in header.split("|")[1:-1]]
    cells = [dict(zip(names, (c.strip() for c in r.split("|")[1:-1]), strict=True)) for r in rows]
    assert [row["server"] for row in cells] == ["pocketsphinx", "ours"]
    assert cells[0]["WER %"] == "12.50"
    assert cells[0]["ratio"] == "1"
    for row in cells:
        assert float(row["calls/s"]) > 0
        assert int(row["p50 ms"]) <= int(row["p95 ms"])
        assert int(row["peak memory"].removesuffix(" MB")) > 20
    assert float(cells[1]["WER %"]) > 50  # random weights


def test_a_peer_that_is_not_installed_is_told(manifest, tmp_path, monkeypatch):
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConfigError, match="does not start in"):
        main([str(manifest), "--systems", "pocketsphinx"])
