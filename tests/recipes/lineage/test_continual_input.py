"""The grammar against strings and transitions written by hand; the experiment in small."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from recipes.lineage.continual_input import (
    EXPERIMENT,
    FORGETTING,
    OLD,
    follow,
    follow_resetting,
    predictor,
    wrong,
)
from recipes.lineage.experiment import Settings
from recipes.lineage.reber import LEGAL, START, SYMBOLS, Streams, fresh_strings, string_of

# What may follow in "B x REBER x E", by a prefix of the string; written from the grammar's graph.
SUCCESSORS = {
    "": "B",
    "B": "TP",
    "BT": "B",
    "BP": "B",
    "BTB": "TP",
    "BTBT": "SX",
    "BTBTS": "SX",
    "BTBTSSS": "SX",
    "BTBTX": "XS",
    "BTBTXX": "TV",
    "BTBTXS": "E",
    "BTBP": "TV",
    "BTBPTT": "TV",
    "BTBPV": "PV",
    "BTBPVP": "XS",
    "BTBPVPX": "TV",
    "BTBPVPS": "E",
    "BTBPVV": "E",
    "BTBPVVE": "T",
    "BPBPVVE": "P",
    "BPBTXSE": "P",
    "BPBTXSEP": "E",
    "BPBTXSEPE": "B",
    "BTBTXSETE": "B",
}


def inner():
    """The Reber grammar as a regular expression: the loop X..VP is its only cycle but S and T."""
    to_three = "T*V"  # from node 3 to 5
    loop = f"(?:X{to_three}P)*"  # from node 4 back to it
    leave_four = f"(?:S|X{to_three}V)"  # from node 4 to 6
    return f"B(?:TS*X{loop}{leave_four}|P{to_three}(?:V|P{loop}{leave_four}))E"


EMBEDDED = re.compile(f"B(?:T{inner()}T|P{inner()}P)E")


def stream(length, seed=0, streams=3):
    symbols, states = Streams(streams, seed).take(length)
    return [string_of(column) for column in symbols.T], states.T


def names(row):
    return {SYMBOLS[place] for place in np.flatnonzero(row)}


def test_legal_successors_are_those_of_the_graph():
    texts, states = stream(4000)
    seen = set()
    for text, after in zip(texts, states, strict=True):
        begin = 0
        for place, state in enumerate(after):
            prefix = text[begin : place + 1]
            if prefix in SUCCESSORS:
                assert names(LEGAL[state]) == set(SUCCESSORS[prefix]), prefix
                seen.add(prefix)
            if state == START:
                begin = place + 1
    assert seen == {prefix for prefix in SUCCESSORS if prefix}
    assert names(LEGAL[START]) == {"B"}


def test_streams_are_embedded_strings_without_gaps():
    for text, states in zip(*stream(5000), strict=True):
        end = np.flatnonzero(states == START)[-1] + 1
        whole = text[:end]
        assert re.fullmatch(f"(?:{EMBEDDED.pattern})*", whole)
        assert len(EMBEDDED.findall(whole)) == np.count_nonzero(states == START)


def test_every_symbol_is_one_that_the_oracle_allows_and_choices_are_even():
    symbols, states = Streams(20, 1).take(5000)
    allowed = LEGAL[states[:-1]]
    chosen = np.take_along_axis(allowed, symbols[1:, :, None], 2)
    assert chosen.all()
    choices = allowed.sum(2) == 2
    first = allowed.argmax(2)  # the earlier of the two in SYMBOLS
    share = (symbols[1:] == first)[choices].mean()
    assert share == pytest.approx(0.5, abs=0.01)


def test_taking_in_pieces_goes_on_and_a_restart_begins_with_a_string():
    pieces, whole = Streams(2, 5), Streams(2, 5)
    first, _ = pieces.take(7)
    assert (first == whole.take(7)[0]).all()
    before = pieces.states.copy()
    pieces.restart(np.array([True, False]))
    assert pieces.states.tolist() == [START, before[1]]
    symbols, _ = pieces.take(1)
    assert SYMBOLS[symbols[0, 0]] == "B"


def test_fresh_strings_are_whole():
    symbols, states, lengths = fresh_strings(200, np.random.default_rng(0))
    for row, length in enumerate(lengths):
        assert EMBEDDED.fullmatch(string_of(symbols[:length, row]))
        assert states[length - 1, row] == START
        assert not (states[: length - 1, row] == START).any()


def test_a_prediction_is_right_only_if_every_output_is():
    targets = np.array([0.0, 1.0, 1.0, 0.0])[None, :, None]
    right = np.array([0.48, 0.52, 1.0, 0.0])[None, :, None]
    missed, invented = right.copy(), right.copy()
    missed[0, 1], invented[0, 3] = 0.5, 0.5
    found = [wrong(outputs, targets).item() for outputs in (right, missed, invented)]
    assert found == [False, True, True]


def test_the_state_goes_on_through_a_stream_and_resets_cut_it():
    net = predictor(FORGETTING, 8, 0)
    symbols, states = Streams(3, 2).take(60)
    whole, cells = follow(net, symbols, states, [60])
    pieces, more = follow(net, symbols, states, [7, 30, 60])
    assert (whole == pieces).all()
    assert np.allclose(cells[-1], more[-1], atol=1e-6)
    reset = follow_resetting(net, symbols, states)
    for b in range(3):
        cuts = [0, *np.flatnonzero(states[:, b] == START) + 1, 60]
        for begin, end in pairwise(cuts):
            part = slice(begin, end), slice(b, b + 1)
            if end > begin:
                alone, _ = follow(net, symbols[part], states[part], [end - begin])
                assert (reset[part] == alone).all()


@pytest.mark.parametrize("first_seed", [0, 100, 200])
def test_old_cells_fill_up_and_a_forget_gate_bounds_them(first_seed):
    result = EXPERIMENT.run(Settings(reduced=True, first_seed=first_seed))
    json.dumps(result.numbers, allow_nan=False)
    middle = result.numbers["marks"].index(1000)
    for old, forgetting in zip(
        *(result.numbers["runs"][s.label] for s in (OLD, FORGETTING)), strict=True
    ):
        assert old["mean_abs_c"][-1] > 5 * old["mean_abs_c"][middle]  # ten times as long a stream
        assert forgetting["mean_abs_c"][-1] < 2 * forgetting["mean_abs_c"][middle]
        assert old["mean_abs_c"][-1] > 50 * forgetting["mean_abs_c"][-1]
        assert old["saturated_share"][-1] > 0.8
