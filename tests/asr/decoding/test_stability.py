"""The stability of partials is the probability that their words stay."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from asr.decoding import BeamOptions, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.stability import BEAM, GREEDY, LANGUAGE, WORDS
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.scoring import calibration_error, reliability
from asr.tokens import Tokenizer

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])
KINDS = {"greedy": GREEDY, "beam": BEAM, "language": LANGUAGE, "words": WORDS}
# Of the calibration error, on speakers who were not fitted to.
BOUNDS = {"greedy": 0.1, "beam": 0.06, "language": 0.06, "words": 0.1}


@pytest.fixture(scope="module")
def partials():
    """Of speakers who were not fitted to, by the kind of search: the share of the best words in the
    beam, seconds of quiet, and whether the words stayed."""
    with Path(__file__).with_name("partials.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        kind: [
            (float(row["share"]), float(row["quiet"]), row["stayed"] == "1")
            for row in rows
            if row["kind"] == kind
        ]
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_of_partials_with_a_stability_as_many_stay_for_each_kind_of_search(partials, kind):
    rows = partials[kind]
    assert len(rows) >= 500
    stayed = [each for _, _, each in rows]
    stated = [KINDS[kind](share, quiet) for share, quiet, _ in rows]
    assert calibration_error(reliability(stated, stayed)) <= BOUNDS[kind]


@pytest.mark.parametrize("stability", KINDS.values(), ids=KINDS)
def test_what_is_quiet_for_longer_and_has_more_of_the_beam_is_more_stable(stability):
    for least, most in (((0.2, 0.0), (0.2, 0.3)), ((0.2, 0.3), (0.9, 0.3))):
        assert 0.0 < stability(*least) < stability(*most) < 1.0
    assert 0.0 < stability(0.0, 0.0) < stability(1.0, math.inf) < 1.0


def test_a_beam_with_a_language_model_is_calibrated_as_one():
    """The same partial, whose only word may go on."""
    model = LanguageModel(
        estimate([[b"a"], [b"ab"], [b"b"]], KneserNeyConfig(1, discount_fallback=FALLBACK))
    )
    log_probs = torch.full((3, 4), -9.0)
    log_probs[range(3), [2, 3, 0]] = 0.0
    options = BeamOptions(beam_width=2, lm_weight=1e-6)
    found = {}
    for language in (None, Language(LETTERS, model)):
        stream = make_decoder(options, LETTERS, 0.02, language).begin()
        found[language is None] = stream.push(log_probs.log_softmax(-1)).stability
    assert found[False] < found[True]
