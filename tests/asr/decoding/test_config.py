"""Options of decoding: what is refused, and how the refusal reads."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest

from asr.decoding import (
    BeamOptions,
    GreedyOptions,
    PrefixOptions,
    WfstOptions,
    make_decoder,
    plain_values,
    read_options,
)
from asr.decoding.config import OPTIONS
from asr.tokens import Tokenizer
from asr.types import DecodingError


@pytest.mark.parametrize(
    "options",
    [
        {"name": "oracle"},
        {"name": ["greedy"]},
        {"name": "greedy", "nbest": 1},
        {"name": "beam", "beam_width": 0},
        {"name": "beam", "beam_width": 1025},
        {"name": "beam", "beam_width": "3"},
        {"name": "beam", "beam_width": 2.0},
        {"name": "beam", "beam_width": True},
        {"name": "beam", "beam_width": 4, "nbest": 5},
        {"name": "beam", "nbest": 0},
        {"name": "beam", "token_min_log_prob": 0.1},
        {"name": "beam", "token_min_log_prob": float("nan")},
        {"name": "beam", "token_min_log_prob": "-8"},
        {"name": "beam", "token_min_log_prob": None},
        {"name": "beam", "beam_threshold": -1.0},
        {"name": "beam", "beam_threshold": float("nan")},
        {"name": "beam", "lm_weight": -0.1},
        {"name": "beam", "lm_weight": float("inf")},
        {"name": "beam", "lm_weight": "1"},
        {"name": "beam", "word_score": float("nan")},
        {"name": "beam", "token_score": 1e9},
        {"name": "beam", "unk_score": 1.0},
        {"name": "beam", "unk_score": float("nan")},
        {"name": "beam", "graph": "graph"},
        {"name": "prefix", "nbest": 0},
        {"name": "prefix", "blank_threshold": 0.4},
        {"name": "prefix", "blank_threshold": 1.1},
        {"name": "prefix", "blank_threshold": float("nan")},
        {"name": "prefix", "blank_threshold": "1"},
        {"name": "prefix", "max_expansions": 0},
        {"name": "prefix", "max_expansions": 1e3},
        {"name": "prefix", "max_expansions": 10**9},
        {"name": "wfst"},
        {"name": "wfst", "graph": 3},
        {"name": "wfst", "graph": "graph", "nbest": 2},
        {"name": "wfst", "graph": "graph", "acoustic_scale": 0.0},
        {"name": "wfst", "graph": "graph", "acoustic_scale": float("nan")},
        {"name": "wfst", "graph": "graph", "search_beam": -1},
        {"name": "wfst", "graph": "graph", "search_beam": float("inf")},
        {"name": "wfst", "graph": "graph", "search_beam": "16"},
        {"name": "wfst", "graph": "graph", "max_active": 1},
        {"name": "wfst", "graph": "graph", "max_active": 30_001},
        {"name": "wfst", "graph": "graph", "max_active": 7e3},
    ],
)
def test_impossible_options_are_refused_with_a_remedy(options):
    with pytest.raises(DecodingError) as caught:
        read_options(options)
    assert caught.value.remedy


def test_an_unknown_decoder_lists_the_known():
    with pytest.raises(DecodingError, match=r"'oracle'.*greedy, beam, prefix, wfst"):
        read_options({"name": "oracle"})


@pytest.mark.parametrize("options", [GreedyOptions(), BeamOptions(), PrefixOptions()])
def test_a_decoder_keeps_its_options(options):
    assert make_decoder(options, Tokenizer(["<blank>", "a"]), 0.01).options is options


@pytest.mark.parametrize(
    "options",
    [
        GreedyOptions(),
        BeamOptions(beam_width=7, nbest=3, token_min_log_prob=-5.5),
        BeamOptions(lm_weight=1.5, word_score=-2.0, unk_score=-3.0),
        BeamOptions(beam_threshold=None, token_score=0.25),
        BeamOptions(beam_threshold=math.inf, unk_score=-math.inf, token_min_log_prob=-math.inf),
        PrefixOptions(nbest=3, blank_threshold=1.0, max_expansions=9),
        WfstOptions(graph="a/b", acoustic_scale=0.5, search_beam=9.0, max_active=70),
    ],
)
def test_options_survive_json(options):
    assert read_options(json.loads(json.dumps(plain_values(options)))) == options


# As bundles have them that were saved when all decoders shared one class of options.
OLD = {
    "beam_width": 9,
    "alternatives": 2,
    "token_min_log_prob": -7.0,
    "blank_threshold": 0.99,
    "max_expansions": 500,
    "graph": None,
    "acoustic_scale": 1.0,
    "search_beam": 16.0,
    "max_active": 7000,
    "beam_threshold": 20.0,
    "lm_weight": 0.75,
    "word_bonus": 1.0,
    "token_bonus": -0.5,
    "unknown_penalty": 3.0,
}


@pytest.mark.parametrize(
    ("old", "options"),
    [
        ({}, GreedyOptions()),
        ({**OLD, "name": "greedy"}, GreedyOptions()),
        ({**OLD, "name": "beam"}, BeamOptions(9, 2, -7.0, 20.0, 0.75, 1.0, -0.5, -3.0)),
        (
            {**OLD, "name": "beam", "unknown_penalty": None},
            BeamOptions(9, 2, -7.0, 20.0, 0.75, 1.0, -0.5),
        ),
        ({**OLD, "name": "prefix"}, PrefixOptions(2, 0.99, 500)),
        ({**OLD, "name": "wfst", "graph": "g", "alternatives": 1}, WfstOptions("g")),
        # From before there was prefix search.
        (
            {"name": "beam", "beam_width": 9, "alternatives": 2, "token_min_log_prob": -7.0},
            BeamOptions(9, 2, -7.0),
        ),
    ],
)
def test_old_bundles_options_are_understood(old, options):
    assert read_options(old) == options


@pytest.mark.parametrize("values", [{"beam": 3}, {1: 2, "name": "beam"}, None, [1], "greedy"])
def test_values_that_are_no_options_are_refused(values):
    with pytest.raises(DecodingError, match=r"known are|by name"):
        read_options(values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "beam", "alternatives": 2, "nbest": 3},
        {"name": "beam", "unknown_penalty": 2.0, "unk_score": -3.0},
        {"name": "beam", "unknown_penalty": True},
        {"name": "beam", "unknown_penalty": -2.0},
        {"name": "beam", "unknown_penalty": "2"},
        {"name": "greedy", "alternatives": 1, "magic": 2},
    ],
)
def test_old_values_that_mean_nothing_are_refused(values):
    with pytest.raises(DecodingError):
        read_options(values)


def test_what_is_infinite_is_none_which_json_can_say():
    assert BeamOptions(unk_score=-math.inf, beam_threshold=math.inf) == BeamOptions(
        unk_score=None, beam_threshold=None
    )
    plain = plain_values(BeamOptions(unk_score=-math.inf, beam_threshold=math.inf))
    assert read_options(json.loads(json.dumps(plain, allow_nan=False))).unk_score is None


def test_every_option_says_what_it_is_for():
    for options in OPTIONS.values():
        for field in fields(options):
            assert field.metadata["help"]
            assert field.metadata["metavar"].isupper()
            assert field.default is None or isinstance(field.default, field.metadata["kind"])
