"""Archives come whole through servers that break, and only the published ones are unpacked."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recipes.common.cli import main
from recipes.common.transfer import fetch
from recipes.librispeech import download as module
from recipes.librispeech.__main__ import RECIPE
from recipes.librispeech.download import ARCHIVES

DATA = bytes(range(256)) * 400


@dataclass
class Server:
    """Files by path. ``breaks``: after how many bytes each answer in turn is cut off."""

    files: dict[str, bytes]
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        data = self.files.get(request.path)
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if data is None:
            request.send_error(404)
            return
        begin = 0
        if wanted and self.ranges:
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if begin >= len(data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(data)}")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data) - begin))
        request.end_headers()
        most = self.breaks.pop(0) if self.breaks else len(data)
        request.wfile.write(data[begin : begin + most])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("recipes.common.transfer.time.sleep", lambda seconds: None)
    state = Server({"/a": DATA})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


def test_what_breaks_off_goes_on_where_it_broke(server, tmp_path):
    server.breaks = [1000, 50_000, 1]
    seen = []
    fetch(f"{server.address}/a", tmp_path / "a", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", "bytes=51000-", "bytes=51001-"]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {len(DATA)}


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges, server.breaks = False, [70_000]
    fetch(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.asked == [None, "bytes=70000-"]


def test_a_part_of_an_earlier_run_is_completed_and_a_whole_one_left(server, tmp_path):
    (tmp_path / "a").write_bytes(DATA[:321])
    fetch(f"{server.address}/a", tmp_path / "a")
    fetch(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.asked == ["bytes=321-", f"bytes={len(DATA)}-"]


def test_more_than_the_server_has_is_begun_anew(server, tmp_path):
    (tmp_path / "a").write_bytes(DATA + b"more")
    fetch(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


def archive(subset: str, name: str = "84/121/84-121.trans.txt") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for path in (f"LibriSpeech/{subset}/{name}", "LibriSpeech/README.TXT"):
            member = tarfile.TarInfo(path)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    return stream.getvalue()


@pytest.fixture
def published(server, monkeypatch):
    """Publishes an archive of that content."""

    def publish(subset: str, data: bytes) -> None:
        resource, _ = ARCHIVES[subset]
        monkeypatch.setitem(module.ARCHIVES, subset, (resource, hashlib.md5(data).hexdigest()))
        server.files[f"/resources/{resource}/{subset}.tar.gz"] = data

    return publish


def run(server, tmp_path: Path, *arguments: str) -> int:
    return main(RECIPE, ["download", *arguments, "--to", str(tmp_path), "--mirror", server.address])


def test_subsets_are_unpacked_side_by_side_and_the_archives_removed(server, published, tmp_path):
    for subset in ("train-clean-5", "test-other"):
        published(subset, archive(subset))
    server.breaks = [10, 20]
    assert run(server, tmp_path, "train-clean-5", "test-other") == 0
    assert sorted(p.name for p in (tmp_path / "LibriSpeech").iterdir()) == [
        "README.TXT",
        "test-other",
        "train-clean-5",
    ]
    assert (tmp_path / "LibriSpeech/test-other/84/121/84-121.trans.txt").read_text() == "text"
    assert [p.name for p in tmp_path.iterdir()] == ["LibriSpeech"]
    asked = len(server.asked)
    assert run(server, tmp_path, "train-clean-5") == 0
    assert len(server.asked) == asked  # it is there already


def test_another_archive_than_the_published_one_is_not_unpacked(
    server, published, tmp_path, capsys
):
    published("dev-clean", archive("dev-clean"))
    server.files["/resources/12/dev-clean.tar.gz"] = archive("dev-clean", "other.txt")
    assert run(server, tmp_path, "dev-clean") == 2
    assert "not the published archive: its MD5 is" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_kept_is_not_fetched_again(server, published, tmp_path):
    published("dev-clean", archive("dev-clean"))
    assert run(server, tmp_path, "dev-clean", "--keep-archives") == 0
    assert (tmp_path / "dev-clean.tar.gz").read_bytes() == archive("dev-clean")


def test_a_server_that_stays_silent_leaves_what_came(server, published, tmp_path, capsys):
    data = archive("dev-clean")
    published("dev-clean", data)
    server.breaks = [100, *[0] * 20]
    assert run(server, tmp_path, "dev-clean") == 2
    error = capsys.readouterr().err
    assert "the 100 bytes that came are kept" in error
    assert (tmp_path / "dev-clean.tar.gz.partial").read_bytes() == data[:100]
    server.breaks = []
    assert run(server, tmp_path, "dev-clean") == 0
    assert server.asked[-1] == "bytes=100-"


def test_what_leaves_its_folder_is_not_unpacked(server, published, tmp_path, capsys):
    published("dev-clean", archive("dev-clean", "../../../outside"))
    assert run(server, tmp_path / "in", "dev-clean") == 2
    assert "cannot be unpacked" in capsys.readouterr().err
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "in" / "LibriSpeech").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dev-dirty"], "no subset 'dev-dirty' (choose of train-clean-5"),
        (["dev-other"], "the server says 404 Not Found"),
        (["dev-other", "--mirror", "ftp://mirror"], "is no mirror"),
        (["dev-other", "--mirror", "http://127.0.0.1:1"], "refused"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(server, tmp_path, arguments, message, capsys):
    mirror = [] if "--mirror" in arguments else ["--mirror", server.address]
    assert main(RECIPE, ["download", *arguments, "--to", str(tmp_path), *mirror]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_full_disk_keeps_what_came(server, published, tmp_path, monkeypatch, capsys):
    published("dev-clean", archive("dev-clean"))
    (tmp_path / "dev-clean.tar.gz.partial").symlink_to("/dev/full")
    assert run(server, tmp_path, "dev-clean") == 2
    assert "cannot write: No space left on device" in capsys.readouterr().err
