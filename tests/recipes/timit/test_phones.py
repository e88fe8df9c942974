"""Folding of TIMIT's phones, against the published groups."""

import pytest

from asr.types import CorpusError
from recipes.timit.phones import PHONES39, PHONES48, PHONES61, fold, fold39, fold48, labels_of

# Lee & Hon (1989): what is one class in scoring. Phones that stand in no group are their own.
GROUPS39 = (
    "aa ao|ah ax ax-h|er axr|hh hv|ih ix|l el|m em|n en nx|ng eng|sh zh|uw ux|"
    "sil cl vcl epi pcl tcl kcl bcl dcl gcl h# pau"
)
GROUPS48 = "ax ax-h|er axr|hh hv|m em|n nx|ng eng|uw ux|cl pcl tcl kcl|vcl bcl dcl gcl|sil h# pau"


def groups(text):
    return {phone: group.split()[0] for group in text.split("|") for phone in group.split()}


@pytest.mark.parametrize(("labels", "table"), [(48, GROUPS48), (39, GROUPS39)])
def test_phones_fold_to_the_published_classes(labels, table):
    named = groups(table)
    for phone in PHONES61:
        if phone != "q":
            assert fold([phone], labels) == [named.get(phone, phone)]


def test_the_sets_have_the_published_sizes_and_fold_into_each_other():
    assert (len(PHONES61), len(PHONES48), len(PHONES39)) == (61, 48, 39)
    assert set(fold48(PHONES61)) == set(PHONES48)
    assert set(fold39(PHONES48)) == set(fold39(PHONES61)) == set(PHONES39)
    assert fold39(PHONES39) == list(PHONES39)
    assert fold48(PHONES48) == list(PHONES48)
    assert fold(PHONES61, 61) == list(PHONES61)


def test_the_glottal_stop_is_left_out_of_all_but_61():
    assert (fold(["q"], 61), fold48(["q"]), fold39(["q"])) == (["q"], [], [])


@pytest.mark.parametrize(
    ("phone", "labels", "why"), [("xx", 48, "phone of TIMIT"), ("sil", 61, "61"), ("cl", 61, "61")]
)
def test_what_cannot_be_folded_is_named(phone, labels, why):
    with pytest.raises(CorpusError, match=f"'{phone}'.*{why}"):
        fold([phone], labels)


@pytest.mark.parametrize(("labels", "phones"), [(61, PHONES61), (48, PHONES48), (39, PHONES39)])
def test_a_model_says_by_its_tokens_which_labels_it_has(labels, phones):
    assert labels_of(["<blank>", *phones]) == labels
