"""Utterances that CTC cannot align are found and named before training."""

import pytest

from asr.types import AlignmentError
from recipes.common.preflight import preflight


def test_preflight_sorts_counts_and_names():
    report = preflight(
        [
            ("fits", 5, [1, 1, 2, 2], []),  # 4 labels + 2 repeats need 6
            ("just-fits", 6, [1, 1, 2, 2], []),
            ("silent", 9, [], []),
            ("strange", 9, None, ["é"]),
        ]
    )
    assert report.usable == ("just-fits",)
    assert report.too_short == ("fits",)
    assert report.empty == ("silent",)
    assert report.unknown == ("strange",)
    assert report.rejected == ("fits", "silent", "strange")
    text = report.report()
    assert "1 of 4" in text
    assert "fits: 5 frames for 4 labels and 2 repeats, 6 needed" in text
    assert "'é'" in text


def test_a_manifest_with_nothing_usable_stops():
    with pytest.raises(AlignmentError, match="no utterance"):
        preflight([("silent", 9, [], [])]).require_any()
