"""Audio in shards is the audio of the files, in the same batches, wherever the shards are."""

from __future__ import annotations

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from lhotse.audio.backend import audio_backend

from asr.tokens import Tokenizer
from asr.types import AudioError, ConfigError, CorpusError
from recipes.common.audio import load_samples
from recipes.common.batches import BatchLimits, BatchSampler
from recipes.common.cli import main
from recipes.common.data import SpeechDataModule, manifest_path, tokens_path
from recipes.common.manifests import Utterance, read_manifest, save_cuts, usable_cuts
from recipes.common.shards import Sharding, writing_shards
from tests.recipes import toy

RATE = 16_000


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    """Recordings in the forms that people have, and spans of a long one."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    found = []
    kinds = {
        "flac": ("FLAC", "PCM_16", 1),
        "opus": ("OGG", "OPUS", 1),
        "wav": ("WAV", "PCM_16", 1),
        "sph": ("NIST", "PCM_16", 1),
        "aiff": ("AIFF", "PCM_24", 1),
        "w64": ("W64", "FLOAT", 1),
        "au": ("AU", "PCM_16", 2),
    }
    for number in range(28):
        suffix, (container, coding, channels) = list(kinds.items())[number % len(kinds)]
        samples = rng.uniform(-0.3, 0.3, (rng.integers(4000, 16_000), channels))
        path = folder / f"{number}.{suffix}"
        soundfile.write(path, samples, RATE, coding, format=container)
        found.append(Utterance(f"u-{number}", path, "abc"[: number % 3 + 1], f"s{number % 4}"))
    long = folder / "long.wav"
    soundfile.write(long, rng.uniform(-0.3, 0.3, 3 * RATE), RATE)
    for number in range(4):
        start = 0.7 * number
        found.append(Utterance(f"span.{number}", long, "ab", "s4", start=start, duration=0.5))
    return found


@pytest.fixture(scope="module")
def cuts(utterances):
    return usable_cuts(utterances)


def write_shards(cuts, data, split, sharding):
    with writing_shards({split: cuts}, data, sharding) as placed:
        return placed[split]


@pytest.fixture(scope="module")
def folders(cuts, tmp_path_factory):
    """A data folder with single files, and one with shards."""
    made = []
    for name in ("files", "shards"):
        data = tmp_path_factory.mktemp(name)
        placed = write_shards(cuts, data, "train", Sharding(5)) if name == "shards" else cuts
        save_cuts(manifest_path(data, "train"), placed)
        Tokenizer.from_texts(["abc"], "characters").save(tokens_path(data))
        made.append(data)
    return made


def samples_of(cut):
    return load_samples(cut).samples


def largest_difference(cut, other):
    mine, theirs = samples_of(cut), samples_of(other)
    assert len(mine) == len(theirs)
    return float(np.abs(mine - theirs).max())


def test_the_audio_is_that_of_the_files(folders):
    plain, sharded = (read_manifest(manifest_path(data, "train")) for data in folders)
    assert [cut.id for cut in plain] == [cut.id for cut in sharded]
    for cut, other in zip(plain, sharded, strict=True):
        suffix = cut.recording.sources[0].source.rpartition(".")[2]
        lossy = suffix in ("w64", "au")  # float, and the mean of two channels
        assert largest_difference(cut, other) <= (2.0**-24 if lossy else 0.0), suffix
        assert other.supervisions[0].text == cut.supervisions[0].text
        assert other.supervisions[0].speaker == cut.supervisions[0].speaker
        assert other.duration == cut.duration


def test_a_cut_of_a_manifest_of_ones_own_is_a_span_of_a_shard(folders):
    for plain, sharded in zip(
        *(read_manifest(manifest_path(data, "train")) for data in folders), strict=True
    ):
        mine, theirs = (
            cut.truncate(offset=0.1, duration=0.125, preserve_id=True) for cut in (sharded, plain)
        )
        assert len(samples_of(mine)) == round(0.125 * RATE)
        np.testing.assert_allclose(samples_of(mine), samples_of(sharded)[1600:3600], atol=1e-7)
        assert largest_difference(mine, theirs) <= 2.0**-24 or sharded.id.startswith("span.")


def batches(data, *, workers, rank=0, world_size=1, skip=0):
    module = SpeechDataModule(str(data), batch_size=3, num_workers=workers, sample_rate=RATE)
    loader = module.plain_dataloader("train")
    sampler = BatchSampler(
        list(module.manifest("train")),
        BatchLimits(3),
        shuffle=True,
        seed=7,
        rank=rank,
        world_size=world_size,
    )
    sampler.start_at(2, skip)
    return list(type(loader)(loader.dataset, sampler=sampler, batch_size=None, num_workers=workers))


def test_every_utterance_comes_once_an_epoch_over_workers_and_processes(folders, cuts):
    seen = []
    for rank in range(2):
        plain, sharded = (
            batches(data, workers=workers, rank=rank, world_size=2)
            for data, workers in zip(folders, (0, 2), strict=True)
        )
        assert [batch.ids for batch in sharded] == [batch.ids for batch in plain]
        for mine, theirs in zip(sharded, plain, strict=True):
            assert torch.allclose(mine.waveforms, theirs.waveforms, atol=2.0**-24, rtol=0)
            assert torch.equal(mine.targets, theirs.targets)
        seen += [name for batch in sharded for name in batch.ids]
    assert sorted(seen) == sorted(cut.id for cut in cuts)


def test_an_interrupted_epoch_goes_on_where_it_stopped(folders):
    _, data = folders
    whole, rest = batches(data, workers=2), batches(data, workers=2, skip=4)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[4:]]
    for mine, theirs in zip(rest, whole[4:], strict=True):
        assert torch.equal(mine.waveforms, theirs.waveforms)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # lhotse leaves the files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_lhotse_reads_the_shards_from_their_beginning_to_their_end(folders):
    _, data = folders
    mine = {cut.id: cut for cut in read_manifest(manifest_path(data, "train"))}
    theirs = list(CutSet.from_shar(in_dir=str(data / "shards" / "train")))
    assert sorted(cut.id for cut in theirs) == sorted(mine)
    assert [cut.id for cut in theirs] != list(mine)  # they are mixed
    for cut in theirs:
        assert cut.supervisions[0].text == mine[cut.id].supervisions[0].text
        with audio_backend("LibsndfileBackend"):  # its other ones depend on what is installed
            read = cut.load_audio()[0]
        np.testing.assert_array_equal(read, samples_of(mine[cut.id]))


def tar_sizes(data):
    return [path.stat().st_size for path in sorted((data / "shards/train").glob("*.tar"))]


def test_there_are_as_many_shards_as_asked_for_or_none_is_larger(folders, cuts, tmp_path):
    assert len(tar_sizes(folders[1])) == 5
    write_shards(cuts, tmp_path, "train", Sharding.of("60K"))
    sizes = tar_sizes(tmp_path)
    assert len(sizes) > 5
    overhead = 3 * 1024 * len(cuts)  # headers, rows and padding
    assert all(size < 60_000 + overhead for size in sizes)
    write_shards(cuts, tmp_path, "train", Sharding.of("1"))  # in their place
    assert len(tar_sizes(tmp_path)) == 1


def test_the_data_folder_may_be_moved(folders, tmp_path, cuts):
    write_shards(cuts[:6], tmp_path / "a", "train", Sharding(2))
    placed = write_shards(cuts[:6], tmp_path / "a", "train", Sharding(2))
    save_cuts(manifest_path(tmp_path / "a", "train"), placed)
    (tmp_path / "a").rename(tmp_path / "b")
    for cut, other in zip(
        read_manifest(manifest_path(tmp_path / "b", "train")), cuts, strict=False
    ):
        assert largest_difference(cut, other) <= 2.0**-24


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do; some answers fail first."""

    faults: list[int]
    ranges = True

    def do_GET(self):
        if self.faults:
            fault = self.faults.pop()
            if fault == 0:  # hang up
                self.close_connection = True
                return
            self.send_error(fault)
            return
        path = self.translate_path(self.path)
        begin, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(206 if self.ranges else 200)
        self.end_headers()
        self.wfile.write(data[begin : end + 1] if self.ranges else data)

    def log_message(self, *_):
        pass


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder that is served, its address, and the handler's class."""
    monkeypatch.setattr("recipes.common.parts.time.sleep", lambda seconds: None)
    handler = type("Handler", (Ranges,), {"faults": []})
    served = tmp_path / "bucket"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served, f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(store, cuts, tmp_path):
    """A manifest whose shards are in the store."""
    served, address, handler = store
    placed = write_shards(cuts[:4], tmp_path / "data", "train", Sharding(2, None, f"{address}/x/"))
    (served / "x").mkdir()
    (tmp_path / "data/shards").rename(served / "x/shards")
    save_cuts(manifest_path(tmp_path / "data", "train"), placed)
    return list(read_manifest(manifest_path(tmp_path / "data", "train"))), handler, served


def test_shards_are_read_from_a_store(remote, cuts):
    found, handler, _ = remote
    handler.faults = [503, 0]  # the first tries fail
    for cut, other in zip(found, cuts, strict=False):
        assert largest_difference(cut, other) <= 2.0**-24


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda handler, served: setattr(handler, "faults", [403]), "cannot read: Forbidden"),
        (lambda handler, served: setattr(handler, "faults", [500] * 9), "Internal Server Error"),
        (lambda handler, served: setattr(handler, "ranges", False), "sends whole files only"),
        (lambda handler, served: (served / "x").rename(served / "y"), "cannot read: Not Found"),
    ],
)
def test_what_a_store_cannot_give_is_named(remote, break_it, message):
    found, handler, served = remote
    break_it(handler, served)
    with pytest.raises(AudioError, match=message) as caught:
        load_samples(found[0])
    assert caught.value.where.startswith("http://127.0.0.1")


def test_shards_that_are_lost_or_cut_are_named(folders, cuts, tmp_path):
    placed = write_shards(cuts, tmp_path, "train", Sharding(2))
    save_cuts(manifest_path(tmp_path, "train"), placed)
    shard = tmp_path / "shards/train/recording.000001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(CorpusError, match=r"recording.000001.tar.* is not there"):
        read_manifest(manifest_path(tmp_path, "train"))
    shard.unlink()
    with pytest.raises(CorpusError, match=r"recording.000001.tar.* is not there"):
        read_manifest(manifest_path(tmp_path, "train"))


def test_what_is_no_number_or_size_is_refused():
    for text in ("0", "0K", "-1", "1.5", "12Q", "G", "", "9" * 400 + "M", "9" * 5000):
        with pytest.raises(ConfigError, match="no number or size of shards"):
            Sharding.of(text)
    with pytest.raises(ConfigError, match="is no URL"):
        Sharding.of("2", "bucket/x")
    assert Sharding.of("1.5GB") == Sharding(None, 1_500_000_000)


@pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice
def test_a_preparation_that_fails_leaves_what_was_there_or_nothing_to_train_on(
    tmp_path, monkeypatch, capsys
):
    data = tmp_path / "data"
    arguments = ["prepare", "--corpus", str(tmp_path / "corpus"), "--data", str(data)]
    assert main(toy.recipe(), arguments) == 0
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    assert main(toy.recipe(), [*arguments, "--case", "upper", "--shards", "8"]) == 2
    assert "8 shards for the 6 utterances of dev" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in data.iterdir() if p.is_file()} == before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recipes.common.prepared_texts.save_characters", full)
    assert main(toy.recipe(), [*arguments, "--case", "upper", "--shards", "2"]) == 2
    assert toy.fit(data, tmp_path / "run") == 2
    assert "tokens.txt" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice
def test_prepare_writes_shards_and_fit_reads_them(tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    arguments = ["prepare", "--corpus", str(tmp_path / "corpus"), "--data", str(data)]
    assert main(toy.recipe(), [*arguments, "--shards-url", "https://there"]) == 2
    assert main(toy.recipe(), [*arguments, "--shards", "25"]) == 2
    assert "25 shards for the 24 utterances of train" in capsys.readouterr().err
    assert not (data / "train.jsonl.gz").exists()
    assert main(toy.recipe(), [*arguments, "--shards", "3"]) == 0
    for path in (tmp_path / "corpus").iterdir():
        path.unlink()
    assert toy.fit(data, run, "--trainer.max_epochs", "1") == 0
    assert main(toy.recipe(), ["evaluate", "--run", str(run), "--data", str(data)]) == 0
