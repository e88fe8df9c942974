"""The promises of docs/serving.md name tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    line
    for line in (ROOT / "docs" / "serving.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+\. ", line)
]


def named_tests(row: str) -> list[tuple[str, str]]:
    """Files and functions; `::name` is of the file before it."""
    found, file = [], ""
    for reference in re.findall(r"`((?:[\w/]*/)?test_\w+(?:\.py|::\w+)|::\w+)`", row):
        path, _, function = reference.partition("::")
        file = path.removesuffix(".py") or file
        folder = "" if file.startswith("tests/") else "tests/server/"
        found.append((f"{folder}{file}.py", function))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_promise_names_tests_that_exist(row):
    for path, function in named_tests(row):
        assert (ROOT / path).is_file(), path
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, (path, function)


def test_nearly_every_promise_names_its_own_test():
    without = [row for row in ROWS if not named_tests(row)]
    assert len(ROWS) > 50
    assert all(re.search(r"\| (the same|as \d+)", row) for row in without), "others refer to a row"


def test_promises_are_numbered_in_their_order():
    numbers = [int(row[2:].partition(".")[0]) for row in ROWS]
    assert numbers == list(range(1, len(ROWS) + 1))
