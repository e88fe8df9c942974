"""What commands do to start faster is over when they have started."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from asr.cli.starting import load_compiler, starting


@pytest.fixture
def collecting():
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_within_and_all_is_afterwards(collecting):
    with starting():
        assert not gc.isenabled()
        with starting():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    with pytest.raises(KeyError), starting():
        raise KeyError
    assert gc.isenabled()


def test_who_does_not_collect_goes_on_so(collecting):
    gc.disable()
    with starting():
        pass
    assert not gc.isenabled()


def test_the_compiler_brings_no_scipy_and_leaves_it_to_others():
    code = (
        "import sys; from asr.cli.starting import load_compiler; load_compiler();"
        "from asr.lm.trie import step; import asr.decoding.beam.search;"
        "from numba import njit; assert njit(lambda x: x + 1)(1) == 2;"
        "assert 'scipy.linalg' not in sys.modules;"
        "import scipy.linalg; assert scipy.linalg.inv([[2.0]]) == 0.5"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("has_folder", "kept", "told"),
    [(True, False, "the first time only\n"), (True, True, ""), (False, False, "some 20 s\n")],
)
def test_a_terminal_is_told_what_a_first_search_waits_for(
    tmp_path, monkeypatch, capsys, has_folder, kept, told
):
    (tmp_path / "beam").mkdir()
    if kept:
        (tmp_path / "beam" / "word_search.search_words-45.py311.nbi").touch()
    monkeypatch.setattr("asr.compiled.cache_folder", lambda: tmp_path if has_folder else None)
    load_compiler()
    assert capsys.readouterr().err == ""  # not a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    load_compiler()
    err = capsys.readouterr().err
    assert err.endswith(told)
    assert bool(err) == bool(told)
