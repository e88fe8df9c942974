"""Ways to count errors on TIMIT. Figures of different ways are not comparable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from asr.scoring import ErrorCounts, count_errors, token_errors
from recipes.common.metric import Metric
from recipes.timit.phones import fold, fold39

__all__ = ["PER", "SCORINGS", "merge_silences", "optional_silence_errors"]

SILENCE = "sil"
# NIST's sclite: what may be missing costs less than another deletion, and is no error.
SUBSTITUTION, EDIT, LEFT_OUT = 4, 3, 2


def merge_silences(phones: Sequence[str]) -> list[str]:
    """``phones`` with each run of `sil` as one."""
    return [
        phone
        for name, run in groupby(phones)
        for phone in ([name] if name == SILENCE else list(run))
    ]


def optional_silence_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Errors where a `sil` of the reference may be missing, as Kaldi's recipe has it.

    It still counts as a phone of the reference, and a `sil` too many as an error: NIST's
    ``sclite -D`` with ``(sil)`` in the reference, by its costs.
    """
    path = [
        (i, j)
        for i, j in _optional_path(reference, hypothesis)
        if j >= 0 or reference[i] != SILENCE
    ]
    return count_errors(path, reference, hypothesis)


def _optional_path(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[int, int]]:
    """The cheapest path in sclite's costs; -1 stands for nothing."""
    deletion = [LEFT_OUT if phone == SILENCE else EDIT for phone in reference]
    total = [[EDIT * j for j in range(len(hypothesis) + 1)]]
    for i, phone in enumerate(reference):
        row = [total[i][0] + deletion[i]]
        for j, other in enumerate(hypothesis):
            same = total[i][j] + SUBSTITUTION * (phone != other)
            row.append(min(same, total[i][j + 1] + deletion[i], row[j] + EDIT))
        total.append(row)
    path = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        here = total[i][j]
        edit = SUBSTITUTION * (i > 0 and j > 0 and reference[i - 1] != hypothesis[j - 1])
        if i and j and here == total[i - 1][j - 1] + edit:
            i, j = i - 1, j - 1
            path.append((i, j))
        elif j and here == total[i][j - 1] + EDIT:
            j -= 1
            path.append((-1, j))
        else:
            i -= 1
            path.append((i, -1))
    return path[::-1]


Symbols = Callable[[str], list[str]]


def _metric(
    convention: str,
    symbols: Symbols,
    count: Callable[[Sequence[str], Sequence[str]], ErrorCounts] = token_errors,
    optional: tuple[str, ...] = (),
) -> Metric:
    def errors(reference: str, hypothesis: str) -> ErrorCounts:
        return count(symbols(reference), symbols(hypothesis))

    return Metric("PER", errors, symbols, convention, optional)


def _in39(text: str) -> list[str]:
    return fold39(text.split())


PER = _metric("39 classes, every sil counts", _in39)
SCORINGS = {
    "every-sil": PER,
    "merged-sil": _metric(
        "39 classes, repeated sil merged", lambda text: merge_silences(_in39(text))
    ),
    "optional-sil": _metric(
        "39 classes, sil optional in the reference", _in39, optional_silence_errors, (SILENCE,)
    ),
    "61": _metric("61 labels, every one counts", lambda text: fold(text.split(), 61)),
}
