"""Splits: no speaker in two of them, balanced by hours, the same for a seed, or as given."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.types import ConfigError, CorpusError
from recipes.common.corpus import split_note
from recipes.common.manifests import Utterance
from recipes.custom.divide import Amount, Group, divide, parse_amount
from recipes.custom.splits import SplitOptions, named_split, split_up

AMOUNTS = {"dev": Amount(share=0.1), "test": Amount(share=0.1)}


def corpus(speakers, each=10, seconds=3.0, recordings=None):
    """Utterances of equal length; returns them and their measure."""
    found = []
    for speaker in speakers:
        for number in range(each):
            file = f"{speaker}-{number % recordings if recordings else number}.wav"
            found.append(Utterance(f"{speaker}-{number}", Path(file), "GO", speaker))
    return found, lambda utterances: {u.id: seconds for u in utterances}


def speakers_of(divided):
    return {split: {u.speaker for u in found} for split, found in divided.splits.items()}


def test_no_speaker_is_in_two_splits_and_nothing_is_lost():
    utterances, measure = corpus([f"s{n}" for n in range(30)])
    divided = split_up(utterances, {}, measure, SplitOptions(amounts=AMOUNTS))
    found = speakers_of(divided)
    assert [len(found[split]) for split in ("train", "dev", "test")] == [24, 3, 3]
    assert len(set().union(*found.values())) == 30
    assert sum(len(part) for part in divided.splits.values()) == len(utterances)
    assert divided.note is None
    assert "by speaker, seed 0; dev: " in divided.how


@given(
    lengths=st.lists(st.floats(10, 100), min_size=20, max_size=60),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.05, 0.1, 0.3]),
)
@settings(max_examples=40, deadline=None)
def test_hours_come_as_near_as_groups_allow(lengths, seed, share):
    groups = [Group(str(n), length) for n, length in enumerate(lengths)]
    of_group = divide(groups, {"dev": Amount(share=share), "test": Amount(seconds=60.0)}, seed)
    hours = dict.fromkeys(("train", "dev", "test"), 0.0)
    for group in groups:
        hours[of_group[group.name]] += group.seconds
    # A group more or less is what whole groups may miss by.
    assert abs(hours["dev"] - share * sum(lengths)) <= max(lengths) / 2 + 1e-6
    assert abs(hours["test"] - 60.0) <= max(lengths) / 2 + 1e-6
    assert of_group == divide(
        groups, {"dev": Amount(share=share), "test": Amount(seconds=60.0)}, seed
    )


def test_another_seed_gives_other_speakers():
    groups = [Group(str(n), 1.0) for n in range(50)]
    chosen = [divide(groups, AMOUNTS, seed) for seed in range(3)]
    assert len({tuple(sorted(of.items())) for of in chosen}) == 3


def test_women_and_men_are_in_proportion():
    groups = [Group(f"f{n}", 1.0, "f") for n in range(30)]
    groups += [Group(f"m{n}", 1.0, "m") for n in range(10)]
    for seed in range(5):
        of_group = divide(groups, {"dev": Amount(seconds=8.0)}, seed)
        held = [name[0] for name, split in of_group.items() if split == "dev"]
        assert (held.count("f"), held.count("m")) == (6, 2)


def test_one_speaker_is_divided_by_utterance_and_it_is_said():
    utterances, measure = corpus(["anna"], each=100)
    divided = split_up(utterances, {}, measure, SplitOptions(amounts=AMOUNTS))
    assert [len(divided.splits[s]) for s in ("train", "dev", "test")] == [80, 10, 10]
    assert divided.note == "Splits divided by utterance: one speaker is in all of them."


def test_without_speakers_recordings_stay_whole():
    utterances, measure = corpus([None], each=100, recordings=10)
    divided = split_up(utterances, {}, measure, SplitOptions(amounts=AMOUNTS))
    files = [{u.audio for u in divided.splits[split]} for split in ("train", "dev", "test")]
    assert [len(found) for found in files] == [8, 1, 1]
    assert len(set().union(*files)) == 10
    assert "who speaks is not known" in divided.note


def test_who_is_not_known_trains_where_others_are():
    utterances, measure = corpus(["a", "b", "c", "d", None])
    divided = split_up(utterances, {}, measure, SplitOptions(amounts=AMOUNTS))
    assert [s for s, found in speakers_of(divided).items() if None in found] == ["train"]
    assert "some speakers are not known" in divided.note


def test_splits_that_are_given_stay_and_what_is_wrong_with_them_is_said():
    utterances, measure = corpus(["a", "b"])
    given_ = {u.id: "dev" if u.id.endswith("0") else "train" for u in utterances}
    divided = split_up(utterances, given_, measure, SplitOptions(amounts=AMOUNTS))
    assert [u.id for u in divided.splits["dev"]] == ["a-0", "b-0"]
    assert divided.note == "Splits as given: speakers of dev are in train too."
    anew = SplitOptions("utterance", AMOUNTS)
    assert len(split_up(utterances, given_, measure, anew).splits["dev"]) == 2


def test_a_part_for_development_is_taken_from_train_where_there_is_none():
    utterances, measure = corpus(["a", "b", "c", "d"])
    given_ = {u.id: "test" if u.speaker == "d" else "train" for u in utterances}
    found = speakers_of(split_up(utterances, given_, measure, SplitOptions(amounts=AMOUNTS)))
    assert found["test"] == {"d"}
    assert len(found["dev"]) == 1
    assert not found["dev"] & (found["train"] | {"d"})


@pytest.mark.parametrize("line", ["a", "a-3", "a-3.wav"])
def test_lists_name_speakers_utterances_or_recordings(tmp_path, line):
    utterances, measure = corpus(["a", "b"])
    (tmp_path / "dev.txt").write_text(f"{line}\n")
    options = SplitOptions(None, AMOUNTS, {"dev": tmp_path / "dev.txt"})
    dev = split_up(utterances, {}, measure, options).splits["dev"]
    assert {u.id for u in dev} == ({f"a-{n}" for n in range(10)} if line == "a" else {"a-3"})


def test_a_name_of_several_things_is_refused_unless_they_are_the_same_utterances(tmp_path):
    utterances, measure = corpus(["a", "b"])
    path = tmp_path / "dev.txt"
    path.write_text("b\n")
    options = SplitOptions(None, AMOUNTS, {"dev": path})
    of_b = [u for u in utterances if u.speaker == "b"]
    alike = Utterance("a-10", Path("b.wav"), "GO", "a")
    with pytest.raises(CorpusError, match=r"dev\.txt, line 1: 'b' is a speaker and a recording"):
        split_up([*utterances, alike], {}, measure, options)
    own = Utterance("b", Path("b.wav"), "GO", "b")
    assert split_up([*utterances[:10], own], {}, measure, options).splits["dev"] == [own]
    assert split_up(utterances, {}, measure, options).splits["dev"] == of_b


def test_a_line_of_a_list_that_is_wrong_is_named(tmp_path):
    utterances, measure = corpus(["a", "b"])
    lists = {"dev": tmp_path / "dev.txt", "test": tmp_path / "test.txt"}
    lists["dev"].write_text("a-3\nzoe\n")
    with pytest.raises(CorpusError, match=r"dev\.txt, line 2: 'zoe' is no utterance"):
        split_up(utterances, {}, measure, SplitOptions(None, AMOUNTS, lists))
    lists["dev"].write_text("a-3\n")
    lists["test"].write_text("b-1\na\n")
    with pytest.raises(CorpusError, match=r"test\.txt, line 2: a-3 is in dev already"):
        split_up(utterances, {}, measure, SplitOptions(None, AMOUNTS, lists))
    with pytest.raises(ConfigError, match="lists"):
        SplitOptions("speaker", AMOUNTS, lists)


def test_what_cannot_be_divided_is_said_with_the_remedy():
    utterances, measure = corpus(["a", "b"])
    by_speaker = SplitOptions("speaker", AMOUNTS)
    with pytest.raises(CorpusError, match=r"2 to share out to 3 splits.*--split-by utterance"):
        split_up(utterances, {}, measure, by_speaker)
    most = SplitOptions(amounts={"dev": Amount(seconds=90.0), "test": Amount(share=0.5)})
    with pytest.raises(CorpusError, match="nothing to train on"):
        split_up(utterances, {}, measure, most)
    with pytest.raises(ConfigError, match="seed"):
        SplitOptions(seed=-1)
    with pytest.raises(ConfigError, match="--dev"):
        split_up(utterances, {}, measure, SplitOptions(amounts={"dev": Amount(share=0.0)}))
    with pytest.raises(CorpusError, match="nothing to train on"):
        split_up(utterances, {u.id: "dev" for u in utterances}, measure, SplitOptions())
    with pytest.raises(CorpusError, match="gives no splits"):
        split_up(utterances, {}, measure, SplitOptions("given", AMOUNTS))


@pytest.mark.parametrize(
    ("text", "seconds", "share"),
    [("0.2", None, 0.2), ("15%", None, 0.15), ("2h", 7200.0, None), ("30min", 1800.0, None)],
)
def test_amounts_are_shares_or_times(text, seconds, share):
    amount = parse_amount(text)
    assert (amount.seconds, amount.share) == (seconds, share)


@pytest.mark.parametrize("text", ["1", "120%", "-1h", "two", "", "nan"])
def test_other_amounts_are_refused(text):
    with pytest.raises(ConfigError):
        parse_amount(text)


def test_words_for_splits():
    words = {"train-clean-5": "train", "Validation": "dev", "dev_other": "dev", "eval2000": "test"}
    assert {word: named_split(word) for word in words} == words
    assert [named_split(word) for word in ("trainer", "x", "", None)] == [None] * 4


def test_the_note_is_in_the_data_and_in_every_table(tmp_path, prepare, write_tone, capsys):
    for n in range(6):
        write_tone(tmp_path / "r" / f"{n}.wav").with_suffix(".txt").write_text("GO")
    assert prepare("--from", tmp_path / "r", "--test", "0") == 0
    assert "who speaks is not known" in " ".join(capsys.readouterr().out.split())
    assert "who speaks is not known" in split_note(prepare.data)
    assert {split: len(cuts) for split, cuts in prepare.splits.items()} == {"train": 5, "dev": 1}
