"""What a bundle says of streams: kept, checked, and turned into chunks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from asr.bundle import load_bundle, save_bundle
from asr.bundle.streaming import LATENCIES, Streaming
from asr.nn.chunks import Chunking
from asr.types import BundleError, ConfigError

TRAINED = Streaming((240.0, 960.0), (120.0, 840.0))


def test_what_a_model_was_trained_for_is_kept(bundle_of, tiny_bundle_path, tmp_path):
    save_bundle(replace(bundle_of(), streaming=TRAINED), tmp_path / "b")
    assert load_bundle(tmp_path / "b").streaming == TRAINED
    assert load_bundle(tiny_bundle_path).streaming is None


def test_classes_of_latency_lie_in_the_ranges_of_training(bundle_of):
    bundle = replace(bundle_of(), streaming=TRAINED)
    assert bundle.seconds_per_frame == 0.02
    assert [bundle.chunking(latency) for latency in LATENCIES] == [
        Chunking(12, 6),
        Chunking(30, 24),
        Chunking(48, 42),
    ]


def test_a_model_that_was_not_trained_for_streams_reads_further_ahead(bundle_of):
    chunks = [bundle_of().chunking(latency) for latency in LATENCIES]
    assert chunks == [Chunking(32, 32), Chunking(64, 32), Chunking(64, 64)]


def test_a_range_without_a_chunk_or_beyond_all_bounds_still_has_chunks(bundle_of):
    bundle = replace(bundle_of(), streaming=Streaming((0, 9000), (0, 9000)))
    assert bundle.chunking("low") == Chunking(1, 0)
    assert bundle.chunking("high") == Chunking(250, 250)


def test_an_unknown_class_is_told_with_what_there_is(bundle_of):
    with pytest.raises(ConfigError, match="low, medium, high"):
        bundle_of().chunking("soon")


@pytest.mark.parametrize(
    "values",
    [
        {"chunk_ms": [240, 960]},
        {"chunk_ms": [960, 240], "look_ahead_ms": [0, 0]},
        {"chunk_ms": [-1, 240], "look_ahead_ms": [0, 0]},
        {"chunk_ms": [240], "look_ahead_ms": [0, 0]},
        {"chunk_ms": "ab", "look_ahead_ms": [0, 0]},
        {"chunk_ms": [1, 2], "look_ahead_ms": [0, 0], "more": 1},
        [],
    ],
)
def test_damaged_ranges_are_refused(bundle_of, tmp_path, values):
    save_bundle(replace(bundle_of(), streaming=TRAINED), tmp_path / "b")
    path = tmp_path / "b" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "streaming": values}))
    with pytest.raises(BundleError, match="streaming") as caught:
        load_bundle(tmp_path / "b")
    assert str(path) in str(caught.value)
