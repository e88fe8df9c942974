"""Phone boundaries of TIMIT: which are compared, and by how much they are off."""

import pytest

from asr.types import TimedToken
from recipes.timit.boundaries import Phone, boundary_errors, main, merged
from recipes.timit.corpus import timed_phones


def test_neighbours_of_one_class_are_one_phone():
    tokens = [TimedToken("vcl", 0.1, 0.2, 1.0), TimedToken("vcl", 0.2, 0.4, 1.0)]
    assert merged([*tokens, TimedToken("d", 0.5, 0.6, 1.0)]) == [
        Phone("vcl", 0.1, 0.4),
        Phone("d", 0.5, 0.6),
    ]


def test_phones_have_the_times_of_the_file_and_q_leaves_a_gap(tmp_path):
    path = tmp_path / "s.phn"
    path.write_text("0 1600 h#\n1600 3200 bcl\n3200 4000 dcl\n4000 4800 q\n4800 8000 iy\n")
    phones = merged([Phone(*row) for row in timed_phones(path)])
    assert phones == [Phone("sil", 0, 0.1), Phone("vcl", 0.1, 0.25), Phone("iy", 0.3, 0.5)]
    aligned = [Phone("sil", 0, 0.1), Phone("vcl", 0.125, 0.2), Phone("iy", 0.2, 0.5)]
    assert list(boundary_errors(phones, aligned)) == [pytest.approx(0.025)]


def test_a_run_that_is_not_there_is_told_in_a_line(shared_data, tmp_path, capsys):
    corpus = shared_data("timit_sample")
    assert main(["--run", str(tmp_path), "--corpus", str(corpus)]) == 2
    assert "no trained model here" in capsys.readouterr().err
