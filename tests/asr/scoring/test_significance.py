"""Tests of two recognisers on the same speech, with NIST's sc_stats and scipy as oracles."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats

from asr.scoring import ErrorCounts, bootstrap_difference, matched_pairs, token_errors


def trn(path, sentences):
    lines = (f"{' '.join(s)} (s{number % 7}-{number:03})\n" for number, s in enumerate(sentences))
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(("seed", "rates"), [(1, (0.2, 0.3)), (2, (0.5, 0.5)), (3, (0.05, 0.9))])
def test_the_matched_pairs_test_is_that_of_nist(corrupted, sctk, tmp_path, seed, rates):
    references, first = corrupted(seed, 200, rates[0])
    _, noise = corrupted(seed + 10, 200, rates[1])
    # The second hears the same sentences, and other things in some of them.
    rng = np.random.default_rng(seed)
    second = [
        other if rng.random() < rates[1] else reference
        for reference, other in zip(references, noise, strict=True)
    ]
    reference = trn(tmp_path / "ref", references)
    alignments = ""
    for name, sentences in (("first", first), ("second", second)):
        files = ["-r", reference, "trn", "-h", trn(tmp_path / name, sentences), "trn", name]
        alignments += sctk("sclite", *files, "-i", "spu_id", "-s", "-o", "sgml", "stdout")
    options = ["-p", "-t", "mapsswe", "-v", "-n", tmp_path / "out"]
    sctk("sc_stats", *options, given=alignments)
    report = "".join(path.read_text() for path in tmp_path.glob("out*"))
    pattern = (
        r"# segs: (\d+)\).*\(mean: (\S+)\) \(std dev: (\S+)\) \(Z Stat: (\S+)\) \(Stat Diff: (\w+)"
    )
    [(segments, mean, deviation, z, different)] = re.findall(pattern, report)
    found = matched_pairs(references, first, second)
    assert found.segments == int(segments)
    assert found.mean == pytest.approx(float(mean), abs=6e-4)
    assert found.variance**0.5 == pytest.approx(float(deviation), abs=6e-4)
    assert found.z == pytest.approx(float(z), abs=6e-4)
    assert (found.p < 0.05) == (different == "Yes")


def test_the_matched_pairs_test_is_a_z_test_over_segments(corrupted):
    references = [["a", "b", "c", "d", "e", "f"]] * 40
    rng = np.random.default_rng(0)
    first = [[*r[:2], "x", *r[3:]] if rng.random() < 0.7 else r for r in references]
    second = [[*r[:2], "x", *r[3:]] if rng.random() < 0.3 else r for r in references]
    differences = [
        token_errors(r, a).total - token_errors(r, b).total
        for r, a, b in zip(references, first, second, strict=True)
        if (a, b) != (r, r)
    ]
    found = matched_pairs(references, first, second)
    z = np.mean(differences) / scipy.stats.sem(differences)
    assert found.segments == len(differences)
    assert found.z == pytest.approx(z)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(abs(z)))
    assert matched_pairs(references, second, first).z == pytest.approx(-z)


def test_equal_systems_do_not_differ():
    references, heard = [["a", "b"]] * 5, [["a"]] * 5
    for first in (references, heard):
        found = matched_pairs(references, first, first)
        assert (found.z, found.p) == (0.0, 1.0)
    counts = [ErrorCounts(1, 0, 0, 2)] * 5
    same = bootstrap_difference(counts, counts)
    assert (same.low, same.high, same.second_better, same.first_better) == (0.0, 0.0, 0.0, 0.0)
    assert matched_pairs([], [], []).p == 1.0
    assert bootstrap_difference([], []).high == 0.0


def test_a_pair_is_told_apart_where_intervals_of_each_overlap():
    """Speakers differ more than systems do: only on the same draws is the gain seen."""
    rng = np.random.default_rng(0)
    hard = rng.integers(5, 60, size=30)
    first = [ErrorCounts(int(e), 0, 0, 100) for e in hard]
    second = [ErrorCounts(int(e) - 2, 0, 0, 100) for e in hard]
    found = bootstrap_difference(first, second, [str(n) for n in range(30)])
    assert (found.low, found.high) == pytest.approx((0.02, 0.02))
    assert (found.second_better, found.first_better) == (1.0, 0.0)


def test_the_interval_of_a_difference_is_that_of_scipy():
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 30, size=(2, 40))

    def counts(errors):
        return [ErrorCounts(int(e), 0, 0, 50) for e in errors]

    found = bootstrap_difference(counts(first), counts(second))
    expected = scipy.stats.bootstrap(
        ((first - second) / 50,), np.mean, method="percentile", n_resamples=10_000, rng=rng
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_speakers_are_drawn_as_wholes():
    """All of the gain is one speaker's: it may be that speaker's alone."""
    first = [ErrorCounts(5, 0, 0, 10)] * 20 + [ErrorCounts(1, 0, 0, 10)] * 60
    second = [ErrorCounts(0, 0, 0, 10)] * 20 + [ErrorCounts(1, 0, 0, 10)] * 60
    speakers = [str(n // 20) for n in range(80)]
    assert bootstrap_difference(first, second).low > 0.0
    assert bootstrap_difference(first, second, speakers).low == 0.0
