"""A bundle that its reader may not read is told as that, with the reader's number: in a container
the server is another user than the one who exported it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asr.bundle import load_bundle, save_bundle
from asr.types import BundleError

STRANGER = 10001


@contextmanager
def as_stranger() -> Iterator[int]:
    """Root reads everything, so root becomes somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(STRANGER)
    try:
        yield os.geteuid()
    finally:
        os.seteuid(before)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)
    shutil.rmtree(folder)


@pytest.fixture
def bundle(place, bundle_of) -> Path:
    save_bundle(bundle_of(), place / "above" / "bundle")
    for parent, _, files in os.walk(place):
        os.chmod(parent, 0o755)
        for name in files:
            os.chmod(Path(parent, name), 0o644)
    return place / "above" / "bundle"


def test_what_others_may_read_is_read(bundle):
    with as_stranger():
        assert load_bundle(bundle)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokens.txt", "", ".."])
def test_what_may_not_be_read_is_named_with_who_may_not(bundle, name):
    closed = (bundle / name).resolve()
    closed.chmod(0)
    with as_stranger() as uid, pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert f"cannot be read: Permission denied, uid {uid}" in str(caught.value)
    assert "No such file" not in str(caught.value)
    assert "chmod" in (caught.value.remedy or "")
    assert (caught.value.where or "").startswith(str(closed))


def test_a_language_model_that_may_not_be_read_is_no_damage(bundle):
    lexicon = bundle / "lexicon.txt"
    lexicon.write_text("a a\n")
    lexicon.chmod(0)
    with as_stranger(), pytest.raises(BundleError, match="Permission denied") as caught:
        load_bundle(bundle)
    assert caught.value.where == str(lexicon)
