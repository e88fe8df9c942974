"""Costs on paper, and the simulation beside a real server of a small model."""

from __future__ import annotations

import pytest

from benchmarks.scale import costs, fleets, main


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_an_hour_of_audio_costs_what_its_processor_time_does():
    _, _, one, busy, cluster, day = (cells(row) for row in costs(120, 0.5, 0.06, 2).splitlines())
    assert one[1:] == ["30", "0.5 GB", "120", "0.000500"]
    assert busy[1:] == ["30", "0.5 GB", "240", "0.000500"]
    assert cluster[2:4] == ["5.0 GB", "1680"]
    assert float(cluster[4]) == pytest.approx(0.0005 / 0.7, abs=1e-6)
    assert float(day[4]) == pytest.approx(0.0005 / 0.35, abs=1e-6)


def test_fleets_are_compared_under_one_load():
    rows = [cells(row) for row in fleets(1.0, 0.05, 2).splitlines() if row.startswith("| ")][1:]
    by_name = {name: [float(value) for value in values] for name, *values in rows}
    few, many = by_name["8, always"], by_name["12, always"]
    assert few[2] > 3 * many[2]
    assert many[0] == 0
    quick, slow = by_name["2 to 20, ready after 30 s"], by_name["2 to 20, ready after 120 s"]
    assert quick[2] < slow[2]
    assert quick[3] < many[3]


def test_a_real_server_is_measured_beside_its_simulation(tiny_bundle, capsys):
    main(["--check", "--bundle", str(tiny_bundle), "--seconds", "0.5", "--cores", "1"])
    _, *rows = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| "))
    assert [cells(row)[0] for row in rows] == ["0.5", "0.8", "1.0", "1.5", "5.0"]
    simulated, measured = (float(value) for value in cells(rows[-1])[4].split(","))
    assert simulated > 30
    assert measured > 30
