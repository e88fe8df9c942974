"""Options of decoding: what is refused, and how the refusal reads."""

from __future__ import annotations

import json

import pytest

from asr.decoding import DECODERS, DecoderConfig, make_decoder
from asr.decoding.config import NAMES
from asr.tokens import Tokenizer
from asr.types import DecodingError


@pytest.mark.parametrize(
    "options",
    [
        {"name": "oracle"},
        {"name": ["greedy"]},
        {"name": "beam", "beam_width": 0},
        {"name": "beam", "beam_width": 1025},
        {"beam_width": "3"},
        {"beam_width": 2.0},
        {"beam_width": True},
        {"name": "beam", "beam_width": 4, "alternatives": 5},
        {"alternatives": 0},
        {"token_min_log_prob": 0.1},
        {"token_min_log_prob": float("nan")},
        {"token_min_log_prob": "-8"},
        {"token_min_log_prob": None},
        {"blank_threshold": 0.4},
        {"blank_threshold": 1.1},
        {"blank_threshold": float("nan")},
        {"blank_threshold": "1"},
        {"max_expansions": 0},
        {"max_expansions": 1e3},
        {"max_expansions": 10**9},
        {"name": "wfst"},
        {"name": "beam", "graph": "graph"},
        {"name": "wfst", "graph": 3},
        {"name": "wfst", "graph": "graph", "alternatives": 2},
        {"acoustic_scale": 0.0},
        {"acoustic_scale": float("nan")},
        {"search_beam": -1},
        {"search_beam": float("inf")},
        {"search_beam": "16"},
        {"max_active": 1},
        {"max_active": 30_001},
        {"max_active": 7e3},
        {"beam_threshold": -1.0},
        {"beam_threshold": float("nan")},
        {"lm_weight": -0.1},
        {"lm_weight": float("inf")},
        {"lm_weight": "1"},
        {"word_bonus": float("nan")},
        {"token_bonus": 1e9},
        {"unknown_penalty": -1.0},
        {"unknown_penalty": float("nan")},
    ],
)
def test_impossible_options_are_refused_with_a_remedy(options):
    with pytest.raises(DecodingError) as caught:
        DecoderConfig(**options)
    assert caught.value.remedy


def test_an_unknown_decoder_lists_the_known():
    with pytest.raises(DecodingError, match=r"'oracle'.*greedy, beam, prefix, wfst"):
        DecoderConfig(name="oracle")


def test_every_name_has_a_decoder_and_the_reverse():
    assert set(NAMES) == set(DECODERS)
    for name in NAMES:
        graph = "graph" if name == "wfst" else None
        make_decoder(DecoderConfig(name=name, graph=graph), Tokenizer(["<blank>", "a"]), 0.01)


@pytest.mark.parametrize(
    "config",
    [
        DecoderConfig(name="beam", beam_width=7, alternatives=3, token_min_log_prob=-5.5),
        DecoderConfig(name="beam", lm_weight=1.5, word_bonus=-2.0, unknown_penalty=3.0),
        DecoderConfig(name="beam", beam_threshold=None, token_bonus=0.25),
        DecoderConfig(name="prefix", alternatives=3, blank_threshold=1.0, max_expansions=9),
        DecoderConfig(name="wfst", graph="a/b", acoustic_scale=0.5, search_beam=9, max_active=70),
    ],
)
def test_options_survive_json(config):
    assert DecoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_missing_options_have_defaults():
    assert DecoderConfig.from_dict({}) == DecoderConfig()
    # As bundles have it that were saved before there was prefix search.
    old = {"name": "beam", "beam_width": 9, "alternatives": 2, "token_min_log_prob": -7.0}
    assert DecoderConfig.from_dict(old) == DecoderConfig("beam", 9, 2, -7.0)


@pytest.mark.parametrize("values", [{"beam": 3}, {1: 2, "name": "beam"}, None, [1], "greedy"])
def test_values_that_are_no_options_are_refused(values):
    with pytest.raises(DecodingError, match=r"known are|by name"):
        DecoderConfig.from_dict(values)
