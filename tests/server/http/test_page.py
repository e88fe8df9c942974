"""The page in a real Chromium: files, a microphone that plays a WAV file, a keyboard alone."""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli.writers import SrtWriter
from asr.files.find import Source
from server.client import Client, RecognitionConfig, StreamingRecognitionConfig
from server.client_cli.output import result_of
from server.http.application import PAGE

RATE = 16_000
BUSY = "document.getElementById('file').disabled"
SEGMENTS = "document.querySelectorAll('#segments .segment')"
NOTE = "document.getElementById('picture-note').textContent"


def load_beside(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chromium = load_beside("chromium")


@pytest.fixture(scope="module")
def running(serving, recognizer):
    with serving(recognizer, idle_seconds=20.0) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(running, gateway_to):
    with gateway_to(running.address) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def samples(samples_of) -> np.ndarray:
    """Two stretches of sound with silence behind each, 16-bit."""
    quiet = np.zeros(int(1.5 * RATE), np.float32)
    whole = np.concatenate([samples_of(1, 2.5), quiet, samples_of(2, 2.0), quiet])
    return (whole * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def file(samples, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture(scope="module")
def browser(file, tmp_path_factory):
    chromium.find_chromium()
    fake = f"--use-file-for-fake-audio-capture={file}%noloop"
    with chromium.browse(tmp_path_factory.mktemp("profile"), fake) as tab:
        yield tab


@pytest.fixture
def tab(browser, gateway):
    """The page, fresh. No test may leave an error of its script, or of the policy, behind."""
    browser.prefer("light")
    browser.open("about:blank")
    browser.problems.clear()
    browser.open(f"{gateway.url}/")
    browser.wait("document.getElementById('model').options.length")
    yield browser
    assert browser.problems == []


def read(tab, file: Path) -> None:
    """Give the page a file, and wait until all is shown."""
    tab.choose_file("#file", file)
    tab.wait(f"{SEGMENTS}.length && !{BUSY}")
    tab.wait(f"!{NOTE}.startsWith('Reading')")


@pytest.fixture(scope="module")
def said(running, samples):
    """What the toolkit's own client is told, asked as the page asks."""
    config = StreamingRecognitionConfig(
        config=RecognitionConfig(
            encoding="AUDIO_ENCODING_LINEAR16",
            sample_rate_hertz=RATE,
            enable_word_time_offsets=True,
            max_alternatives=5,
        ),
        latency="LATENCY_MEDIUM",
    )
    with Client(running.address) as client:
        results = [result for result in client.live([samples.tobytes()], config) if result.text]
    assert len(results) == 2
    return results


def test_only_own_files_and_this_gateway_are_trusted(gateway):
    for path in ("/", "/page/page.js", "/page/page.css"):
        with urllib.request.urlopen(gateway.url + path, timeout=30) as answer:
            headers = answer.headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_is_whole_by_itself():
    files = sorted(path.name for path in PAGE.iterdir())
    assert files == ["index.html", "page.css", "page.js"]
    for path in PAGE.iterdir():
        assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text(encoding="utf-8"))
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<style|\son\w+=|style=|<script(?![^>]*src=)", html)


def test_a_file_becomes_words_with_confidences_alternatives_and_a_picture(tab, file, said):
    read(tab, file)
    texts = tab.run(f"[...{SEGMENTS}].map((item) => item.querySelector('.text').innerText)")
    assert [text.strip() for text in texts] == [result.text for result in said]
    words = [word for result in said for word in result.hypotheses[0].words]
    levels = tab.run("[...document.querySelectorAll('#segments .word')].map((w) => w.className)")
    assert levels == [f"word c{min(4, int(word.confidence * 5))}" for word in words]
    first = said[0].hypotheses
    shown = tab.run("[...document.querySelectorAll('#nbest li')].map((i) => i.firstChild.data)")
    assert [text.strip() for text in shown] == [hypothesis.text for hypothesis in first]
    rows = tab.run(
        "[...document.querySelectorAll('#words tr')].map((r) => r.children[1].textContent)"
    )
    assert rows == [f"{word.start:.2f}" for word in first[0].words]
    assert tab.run(f"{NOTE}.startsWith('Read again')")
    assert "spectrogram" in tab.run("document.getElementById('picture').ariaLabel")


def test_a_tone_lies_at_its_height_in_the_spectrogram(tab, tmp_path):
    """2 kHz of 8 kHz: a quarter of the way up."""
    tone = 0.3 * np.sin(2 * np.pi * 2000 * np.arange(3 * RATE) / RATE)
    soundfile.write(tmp_path / "tone.wav", tone.astype(np.float32), RATE)
    read(tab, tmp_path / "tone.wav")
    light = tab.run(
        """(() => {
        const canvas = document.getElementById('picture');
        const height = 150 * canvas.height / canvas.clientHeight;
        const column = canvas.getContext('2d').getImageData(canvas.width / 2, 0, 1, height).data;
        return Array.from({length: height}, (_, row) => column[4 * row] + column[4 * row + 1]);
        })()"""
    )
    assert abs(np.argmax(light) / len(light) - 0.75) < 0.02


def test_subtitles_are_those_of_the_client(tab, file, said, tmp_path):
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    read(tab, file)
    tab.run("document.getElementById('srt').click()")
    target, end = tmp_path / "speech.srt", time.monotonic() + 30
    while not target.is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    source = Source("speech", "speech")
    expected = SrtWriter([source]).render(source, [result_of(result) for result in said])
    assert target.read_text(encoding="utf-8") == expected


def test_a_microphone_by_the_keyboard_alone(tab):
    """Text grows; what is settled is not taken back before its segment ends."""
    tab.run(
        """globalThis.seen = []; new MutationObserver(() => seen.push([
            document.getElementById('stable').textContent,
            document.getElementById('unstable').textContent,
            document.querySelectorAll('#segments .segment').length,
        ])).observe(document.getElementById('partial'), {subtree: true, childList: true})"""
    )
    tab.run("document.getElementById('model').focus()")
    tab.press("Tab")
    assert tab.run("document.activeElement.id") == "microphone"
    tab.press("Enter")
    tab.wait(f"{SEGMENTS}.length >= 1")
    assert tab.run("document.activeElement.textContent") == "Stop the microphone"
    tab.press(" ")
    tab.wait(f"!{BUSY}")
    tab.wait(f"!{NOTE}.startsWith('Reading')")
    assert tab.run(f"{SEGMENTS}[0].querySelector('.text').innerText.length") > 0
    assert tab.run("document.getElementById('microphone').textContent") == "Start the microphone"
    seen = [(stable, unstable) for stable, unstable, done in tab.run("seen") if done == 0]
    texts = [stable + unstable for stable, unstable in seen if stable or unstable]
    assert len(set(texts)) >= 2
    settled = ""
    for stable, unstable in seen:
        if stable or unstable:
            assert stable.startswith(settled)
            settled = stable


def test_a_microphone_that_is_stopped_at_once(tab):
    """Whether the browser has given it, or the gateway has answered, or not yet."""
    for _ in range(3):
        tab.run("document.getElementById('microphone').click()")
        tab.run("document.getElementById('microphone').click()")
        tab.wait(f"!{BUSY}", 20.0)
    tab.run("document.getElementById('microphone').click()")
    tab.wait("document.getElementById('status').textContent.startsWith('Listening')")
    tab.run("document.getElementById('microphone').click()")
    tab.wait(f"!{BUSY}", 20.0)
    assert tab.run("document.getElementById('error').hidden")


RECORD = """
(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true});
  const recorder = new MediaRecorder(stream, {mimeType: 'audio/webm;codecs=opus'});
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
  const over = new Promise((resolve) => { socket.onclose = resolve; });
  const heard = [];
  let sending = new Promise((resolve) => { socket.onopen = resolve; });
  recorder.ondataavailable = (event) => {
    sending = sending.then(() => event.data.arrayBuffer()).then((data) => socket.send(data));
  };
  recorder.onstop = () => { sending = sending.then(() => socket.send('{"eof": 1}')); };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    heard.push(message);
    if ((message.partial || message.text) && recorder.state === 'recording') recorder.stop();
  };
  recorder.start(100);
  await over;
  return heard;
})()
"""


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="the extra `formats` is missing")
def test_what_a_browser_records_is_heard_while_it_comes(tab):
    """WebM with Opus in pieces of 100 ms, as ``MediaRecorder`` makes them: it records until there
    is text."""
    *_, last = heard = tab.run(RECORD)
    assert [message for message in heard if "error" in message] == []
    assert any(message.get("partial") or message.get("text") for message in heard[:-1])
    assert "text" in last


def test_everything_that_can_be_used_has_a_name(tab, file):
    read(tab, file)
    tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    usable = ("button", "combobox", "textbox", "checkbox", "spinbutton", "image", "region", "log")
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in usable
    ]
    assert {role for role, _ in found} >= {"button", "combobox", "textbox", "checkbox", "image"}
    assert all(name for _, name in found), found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_colours_of_text_can_be_read(tab, scheme):
    """A contrast of 4.5 at least, as WCAG 2.2 asks for (success criterion 1.4.3)."""
    tab.prefer(scheme)
    names = ["back", "panel", "text", "quiet", "alarm", *(f"c{level}" for level in range(5))]
    style = "getComputedStyle(document.documentElement)"
    colours = {n: tab.run(f"{style}.getPropertyValue('--{n}').trim()") for n in names}
    back, panel, *texts = names
    for name in texts:
        assert contrast(colours[name], colours[back]) >= 4.5, (scheme, name)
        assert contrast(colours[name], colours[panel]) >= 4.5, (scheme, name, "panel")


def contrast(one: str, two: str) -> float:
    """Of WCAG 2.2, for colours written #rrggbb."""

    def luminance(colour: str) -> float:
        parts = [value / 255 for value in struct.unpack("3B", bytes.fromhex(colour[1:]))]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_a_fault_is_told_where_a_person_sees_it(tab, tmp_path):
    (tmp_path / "letter.wav").write_bytes(b"no audio at all, " * 100)
    tab.choose_file("#file", tmp_path / "letter.wav")
    tab.wait("!document.getElementById('error').hidden")
    assert len(tab.run("document.getElementById('error').textContent")) > 10
    tab.wait(f"!{BUSY}")


def test_a_key_is_asked_for_and_used(browser, running, gateway_to, file, tmp_path):
    from server.options import ListenOptions

    keys = tmp_path / "keys"
    keys.write_text("long-enough-to-be-a-key-0123456789\n")
    keys.chmod(0o600)
    listen = ListenOptions(port=0, token_file=keys)
    with gateway_to(running.address, listen=listen) as gateway:
        browser.open(f"{gateway.url}/")
        browser.wait("!document.getElementById('error').hidden")
        assert "key" in browser.run("document.getElementById('error').textContent")
        browser.run(
            """{ const key = document.getElementById('key');
            key.value = 'long-enough-to-be-a-key-0123456789';
            key.dispatchEvent(new Event('change')); }"""
        )
        browser.wait("document.getElementById('model').options.length")
        read(browser, file)
        assert browser.run(f"{NOTE}.startsWith('Read again')")
