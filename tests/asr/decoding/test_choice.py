"""Which decoder is meant: one table for the command line, the recipes and the server."""

from __future__ import annotations

import pytest

from asr.decoding import BeamOptions, GreedyOptions, PrefixOptions, WfstOptions, choose_options
from asr.types import DecodingError

GREEDY = GreedyOptions()
BEAM = BeamOptions(beam_width=7, nbest=2, lm_weight=0.75)
PREFIX = PrefixOptions(max_expansions=99)
WFST = WfstOptions("graph", acoustic_scale=0.5)


@pytest.mark.parametrize(
    ("default", "asked", "meant"),
    [
        (GREEDY, {}, GREEDY),
        (BEAM, {}, BEAM),
        (PREFIX, {}, PREFIX),
        (WFST, {}, WFST),
        # One hypothesis is what every decoder gives.
        (GREEDY, {"changes": {"nbest": 1}}, GREEDY),
        (WFST, {"changes": {"nbest": 1}}, WFST),
        (BEAM, {"changes": {"nbest": 1}}, BeamOptions(7, 1, lm_weight=0.75)),
        (GREEDY, {"changes": {"nbest": 3}}, BeamOptions(nbest=3)),
        (WFST, {"changes": {"nbest": 3}}, BeamOptions(nbest=3)),
        (PREFIX, {"changes": {"nbest": 3}}, PrefixOptions(3, max_expansions=99)),
        # An option of one decoder asks for that decoder.
        (GREEDY, {"changes": {"beam_width": 9}}, BeamOptions(9)),
        (PREFIX, {"changes": {"beam_width": 9}}, BeamOptions(9)),
        (BEAM, {"changes": {"beam_width": 9}}, BeamOptions(9, 2, lm_weight=0.75)),
        (GREEDY, {"changes": {"blank_threshold": 1.0}}, PrefixOptions(blank_threshold=1.0)),
        (BEAM, {"changes": {"graph": "g"}}, WfstOptions("g")),
        (WFST, {"changes": {"max_active": 70}}, WfstOptions("graph", 0.5, max_active=70)),
        (BEAM, {"changes": {"graph": "g", "nbest": 1}}, WfstOptions("g")),
        (GREEDY, {"changes": {"beam_width": 9, "nbest": 1}}, BeamOptions(9)),
        (WFST, {"changes": {"blank_threshold": 1.0, "nbest": 1}}, PrefixOptions(1, 1.0)),
        # So do a language model, a lexicon and phrases.
        (GREEDY, {"language": True}, BeamOptions()),
        (WFST, {"language": True}, BeamOptions()),
        (PREFIX, {"phrases": True}, BeamOptions()),
        (BEAM, {"phrases": True}, BEAM),
        # A name decides.
        (BEAM, {"name": "greedy"}, GREEDY),
        (GREEDY, {"name": "beam", "changes": {"nbest": 1}}, BeamOptions()),
        (BEAM, {"name": "greedy", "changes": {"nbest": 1}}, GREEDY),
        (PREFIX, {"name": "prefix", "changes": {"nbest": 4}}, PrefixOptions(4, max_expansions=99)),
    ],
)
def test_what_is_meant(default, asked, meant):
    assert choose_options(default, **asked) == meant


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "oracle"}, "unknown decoder 'oracle'"),
        ({"name": "greedy", "changes": {"nbest": 2}}, "greedy decoding takes no nbest above 1"),
        (
            {"name": "prefix", "changes": {"beam_width": 2}},
            "takes no beam_width .choose the decoder beam, or leave it",
        ),
        (
            {"name": "greedy", "language": True},
            "no language model or lexicon .choose the decoder b",
        ),
        ({"name": "prefix", "phrases": True}, "takes no phrases .choose the decoder beam"),
        ({"name": "wfst", "changes": {"nbest": 2}, "phrases": True}, "no nbest, phrases .choose"),
        ({"name": "wfst"}, "the graph is ''"),
        ({"changes": {"beam_width": 2, "graph": "g"}}, "no decoder takes all of beam_width, graph"),
        ({"changes": {"graph": "g"}, "language": True}, "language model or lexicon"),
        ({"changes": {"beam_width": 0}}, "beam_width is 0"),
        ({"changes": {"magic": 1}}, "no decoder takes all of magic"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(asked, message):
    with pytest.raises(DecodingError, match=message) as caught:
        choose_options(GREEDY, **asked)
    assert caught.value.remedy


def test_a_refusal_speaks_the_users_words():
    words = {"nbest": "--nbest", "phrases": "--phrase"}
    with pytest.raises(DecodingError, match="greedy decoding takes no --nbest, --phrase "):
        choose_options(GREEDY, "greedy", {"nbest": 3}, phrases=True, words=words)
