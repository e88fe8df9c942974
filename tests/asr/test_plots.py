"""Pictures show something, at any length and with any token, without a warning."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from asr.plots import draw_curves, draw_utterance, save_picture
from asr.types import ConfigError, Hypothesis, TimedToken, Waveform, Word

TOKENS = ("<blank>", "$x^", "b", "字", "")
FRAME = 0.02


def posteriors(frames: int) -> np.ndarray:
    logits = np.random.default_rng(0).standard_normal((frames, len(TOKENS))) * 3
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spoken(duration: float) -> Hypothesis:
    third = duration / 3
    tokens = tuple(
        TimedToken(token, i * third, i * third + min(FRAME, third), 0.5 * i)
        for i, token in enumerate(("$x^", "b", "字"))
    )
    return Hypothesis("$x^b字", -1.0, 0.8, tokens, (Word("$x^b字", 0.0, duration, 0.8),))


def picture(figure, tmp_path) -> np.ndarray:
    save_picture(figure, tmp_path / "u.png")
    data = (tmp_path / "u.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    return imread(BytesIO(data))


@pytest.mark.parametrize("seconds", [0.03, 1.0, 45.0])
def test_a_picture_shows_much(waveform_of, tmp_path, seconds):
    figure = draw_utterance(
        waveform_of(1, seconds),
        posteriors(max(1, int(seconds / FRAME))),
        TOKENS,
        spoken(seconds),
        FRAME,
        title="cost $5",
    )
    pixels = picture(figure, tmp_path)
    height, width = pixels.shape[:2]
    assert width >= 700
    assert height >= 600
    colours = {tuple(pixel) for pixel in (pixels[::7, ::7, :3] * 255).astype(int).reshape(-1, 3)}
    assert len(colours) > 100
    for panel in np.array_split(pixels[..., :3], 4):
        assert panel.std() > 0.02, "a part of the picture is empty"


def test_four_panels_on_one_time_axis(waveform_of):
    figure = draw_utterance(waveform_of(2, 1.0), posteriors(50), TOKENS, spoken(1.0), FRAME)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "amplitude",
        "frequency (kHz)",
        "posterior",
        "tokens",
    ]
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, 1.0)}


def test_spikes_are_marked_at_their_peaks(waveform_of):
    log_probs = np.full((50, 5), np.log(0.01), np.float32)
    log_probs[:, 0] = np.log(0.96)
    log_probs[20] = np.log([0.01, 0.01, 0.96, 0.01, 0.01])
    heard = Hypothesis("b", -1, 0.9, (TimedToken("b", 0.36, 0.48, 0.9),))
    figure = draw_utterance(waveform_of(3, 1.0), log_probs, TOKENS, heard, FRAME)
    (mark,) = (text for text in figure.axes[2].texts if text.get_text() == "b")
    assert mark.xy == pytest.approx((20.5 * FRAME, 0.96))


def test_silence_and_no_tokens(tmp_path):
    silence = Waveform(np.zeros(16000, np.float32), 16000)
    heard = Hypothesis("", -0.1, 1.0)
    picture(draw_utterance(silence, posteriors(50), TOKENS, heard, FRAME), tmp_path)


@pytest.mark.parametrize("name", ["u.bmp", "u", "missing/u.png"])
def test_a_picture_that_cannot_be_written(waveform_of, tmp_path, name):
    figure = draw_utterance(waveform_of(1, 0.5), posteriors(25), TOKENS, spoken(0.5), FRAME)
    with pytest.raises(ConfigError) as caught:
        save_picture(figure, tmp_path / name)
    assert caught.value.remedy


@pytest.mark.parametrize(("of_tokens", "lines"), [(0.5, ["errors", "tokens"]), (0.4, [])])
def test_error_rates_that_are_of_tokens_are_drawn_once(of_tokens, lines):
    row = {"step": 1.0, "dev_error_rate": 0.4, "dev_token_error_rate": of_tokens}
    figure = draw_curves([{**row, "step": float(step)} for step in range(3)])
    place = figure.axes[1]
    assert place.get_legend_handles_labels()[1] == lines
    assert len(place.lines) == max(1, len(lines))
