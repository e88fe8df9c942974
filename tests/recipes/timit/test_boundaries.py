"""Words that are aligned by the model that ships, beside what TIMIT's transcribers marked."""

from __future__ import annotations

import re

from asr.bundle.shipped import shipped_bundle
from recipes.timit import boundaries


def test_the_model_that_ships_finds_nine_word_boundaries_of_ten(shared_data, monkeypatch, capsys):
    """Within 50 ms, by speakers who are in none of its corpora, and on no side on the whole."""
    monkeypatch.setenv("COLUMNS", "200")
    corpus = shared_data("timit_sample")
    command = ["--bundle", str(shipped_bundle()), "--corpus", str(corpus), "--split", "dev"]
    assert boundaries.main(command) == 0
    told = capsys.readouterr().out
    assert "10 of 24 sentences have a word that the lexicon lacks" in told
    [row] = [line for line in told.splitlines() if "default" in line]
    count, median, *shares = map(float, re.findall(r"[+-]?\d+\.?\d*(?= ms| %| )", row))
    assert count > 90
    assert abs(median) < 20
    assert shares[-1] >= 90
