"""OGG and WebM that come in pieces are heard at once, as the whole is, and believed no more."""

from __future__ import annotations

import numpy as np
import pytest

from asr.audio import AudioLimits, decode_audio, resample
from asr.audio.arriving import CHECKS, Arriving, can_arrive
from asr.audio.containers import LIVE
from asr.audio.ffmpeg import ARRIVING
from asr.types import AudioError

pytest.importorskip("av", reason="the extra `formats` is not installed")

RATE = 48_000
SECONDS = 2.5
KINDS = {
    "OGG": ("Ogg Opus", "Ogg FLAC"),
    "WebM": ("WebM Opus", "WebM as a browser records", "Matroska FLAC"),
}
ALL = [(container, kind) for container, kinds in KINDS.items() for kind in kinds]
LIMITS = AudioLimits()


@pytest.fixture(scope="module")
def files(rubbish):
    time = np.arange(int(SECONDS * RATE)) / RATE
    tones = [np.sin(2 * np.pi * pitch * time * (1 + 0.1 * time)) for pitch in (150, 700, 1900)]
    sound = (0.1 * np.sum(tones, axis=0)).astype(np.float32)
    return {kind: rubbish.foreign(sound, RATE, kind) for _, kind in ALL}


def test_what_arrives_is_what_doors_name():
    """WAV needs no decoder, and is heard as samples are."""
    assert {*LIVE} == {"WAV", *ARRIVING} == {"WAV", *CHECKS} == {"WAV", *KINDS}


def pieces_of(data: bytes, size: int):
    return [data[start : start + size] for start in range(0, len(data), size)]


def heard(container, pieces, *, limits=LIMITS, channel=None):
    """Each block with the number of pieces that had come by then."""
    left = [*pieces]

    def more():
        return left.pop(0) if left else b""

    arriving = Arriving(more, container, 16_000, limits=limits, channel=channel)
    return [(len(pieces) - len(left), block) for block in arriving]


def samples(blocks):
    return np.concatenate([block for _, block in blocks])


@pytest.mark.parametrize(("container", "kind"), ALL)
def test_any_pieces_are_heard_as_the_whole_file(container, kind, files):
    data = files[kind]
    whole = resample(decode_audio(data), 16_000).samples
    once = samples(heard(container, [data]))
    assert len(once) == len(whole)
    # libsndfile has another decoder of Opus than FFmpeg.
    error = 10 * np.log10(np.var(whole) / max(np.var(once - whole), 1e-12))
    assert error > (40 if container == "WebM" or "FLAC" in kind else 20)
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.integers(0, len(data), 40)).tolist()
    some = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if b > a]
    for pieces in (pieces_of(data, 1 if "Opus" in kind else 50), pieces_of(data, 777), some):
        np.testing.assert_array_equal(samples(heard(container, pieces)), once)


@pytest.mark.parametrize(("container", "kind"), [("OGG", "Ogg Opus"), ("WebM", "WebM Opus")])
def test_samples_come_with_their_bytes(container, kind, files):
    """What the first half of a file says is told before the second half has come."""
    pieces = pieces_of(files[kind], 500)
    blocks = heard(container, pieces)
    early = sum(len(block) for count, block in blocks if count <= len(pieces) / 2)
    assert early > 0.3 * len(samples(blocks))


def test_links_of_a_chain_follow_each_other(files):
    data = files["Ogg Opus"]
    assert len(samples(heard("OGG", [data, data]))) == 2 * len(samples(heard("OGG", [data])))


@pytest.mark.parametrize(
    ("container", "kind"), [("OGG", "Ogg Opus"), ("WebM", "WebM as a browser records")]
)
def test_who_records_may_stop_anywhere(container, kind, files):
    """Of a file the end has to be there."""
    data, whole = files[kind], samples(heard(container, [files[kind]]))
    for end in np.linspace(0.5, 0.97, 7):
        cut = data[: int(end * len(data))]
        if container == "OGG":
            with pytest.raises(AudioError):
                decode_audio(cut)
        given = samples(heard(container, [cut]))
        assert 0.3 * len(whole) < len(given) <= len(whole)
        steady = slice(0, len(given) - 2_000)  # the last packets are decoded without the next ones
        np.testing.assert_array_equal(given[steady], whole[steady])


def test_a_promise_is_held_to(files):
    data = files["WebM Opus"]
    with pytest.raises(AudioError, match="of its 2"):
        heard("WebM", [data[: len(data) // 2]])


def test_what_is_no_page_is_not_waited_for():
    """A page may have 65,307 bytes: who sends rubbish would hear of it late, or never."""
    left = iter([b"OggS" + bytes(range(1, 60))])  # and there is no more, nor an end
    with pytest.raises(AudioError, match="damaged"):
        list(Arriving(lambda: next(left), "OGG", 16_000, limits=LIMITS))


def at(data: bytes, place: float) -> int:
    return int(place * len(data))


DAMAGES = {
    "a byte is another": lambda d: (
        d[: at(d, 0.4)] + bytes([d[at(d, 0.4)] ^ 1]) + d[at(d, 0.4) + 1 :]
    ),
    "some are missing": lambda d: d[: at(d, 0.3)] + d[at(d, 0.6) :],
    "the beginning is missing": lambda d: d[at(d, 0.5) :],
    "rubbish follows": lambda d: d + bytes(range(1, 256)),
    "rubbish is all there is": lambda d: d[:60] + np.random.default_rng(1).bytes(5_000),
    "nothing comes": lambda d: b"",
    "the beginning alone": lambda d: d[:20],
}


CASES = [("OGG", "Ogg Opus", damage) for damage in DAMAGES] + [  # WebM has no checksums
    ("WebM", "WebM Opus", damage) for damage in DAMAGES if damage != "a byte is another"
]


@pytest.mark.parametrize(("container", "kind", "damage"), CASES)
@pytest.mark.parametrize("size", [1, 100_000])
def test_damage_is_told(container, kind, damage, size, files):
    with pytest.raises(AudioError) as caught:
        heard(container, pieces_of(DAMAGES[damage](files[kind]), size))
    assert caught.value.remedy


@pytest.mark.parametrize("container", KINDS)
def test_another_container_is_named(container, files):
    for other, data in {
        "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
        "OGG": files["Ogg Opus"],
        "WebM": files["WebM Opus"],
    }.items():
        if other != container:
            with pytest.raises(AudioError, match=f"is not {container} but {other}"):
                heard(container, [data])


def test_limits_are_those_of_files(files, rubbish):
    data = files["Ogg Opus"]
    with pytest.raises(AudioError, match="longer than 2 s"):
        heard("OGG", [data], limits=AudioLimits(max_seconds=2.0))
    with pytest.raises(AudioError, match="no channel 1"):
        heard("OGG", [data], channel=1)
    with pytest.raises(AudioError, match="48000 Hz"):
        heard("OGG", [data], limits=AudioLimits(max_rate=44_100))


def test_silence_that_grows_a_thousandfold_is_refused(rubbish):
    """Ten minutes in some kilobytes: by then 32 MiB have come of it, and no more are made."""
    data = rubbish.foreign(np.zeros(600 * 16_000, np.float32), 16_000, "Matroska FLAC")
    assert len(data) < 300_000
    with pytest.raises(AudioError, match="expands to more than 100 times"):
        heard("WebM", pieces_of(data, 5_000))


def test_only_what_ffmpeg_reads_can_arrive(monkeypatch):
    assert can_arrive("OGG")
    assert not can_arrive("MP3")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not can_arrive("OGG")


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_damaged_recordings_give_samples_or_a_clear_error(count, rubbish):
    outcomes = []
    for name, data in rubbish.mutants(count, seed=2):
        container = name.split()[0].replace("Matroska", "WebM")
        if container not in KINDS:
            continue
        try:
            given = samples(heard(container, pieces_of(data, 1 + len(name) * 13)))
        except AudioError:
            outcomes.append(False)
        else:
            assert np.isfinite(given).all(), name
            assert len(given) < 60 * 16_000, name
            outcomes.append(True)
    assert 0.1 * count < len(outcomes)
    assert 0.02 < np.mean(outcomes) < 0.7
