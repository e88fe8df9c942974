"""What a model heard, frame by frame, small enough to be sent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from asr.tokens import BLANK_ID
from asr.types import DecodingError
from server.api.messages import write_duration
from server.limits import POSTERIOR_SECONDS, POSTERIOR_TOKENS
from server.pb.v1.speech_pb2 import Posteriors

__all__ = ["check_posterior_duration", "write_posteriors"]

LEVELS = 255  # a probability of 1, as a byte


def check_posterior_duration(seconds: float) -> None:
    """Raise DecodingError if the posteriors of so much audio are not sent."""
    if seconds > POSTERIOR_SECONDS:
        raise DecodingError(
            f"posteriors are for up to {POSTERIOR_SECONDS:g} s of audio",
            remedy="leave enable_posteriors out, or cut the audio into shorter pieces",
        )


def write_posteriors(
    log_probs: Tensor, tokens: Sequence[str], seconds_per_frame: float
) -> Posteriors:
    """The blank and the tokens that stand out most in ``log_probs (T, V)``, as a message.

    A token stands out if its probability is nearest to another level than 0 in some frame.
    """
    levels = (log_probs.float().exp() * LEVELS).round().clamp(0, LEVELS)  # (T, V)
    peaks = levels.amax(dim=0).tolist() if len(levels) else [0.0] * levels.shape[1]
    ranked = sorted(range(len(peaks)), key=lambda token: (token != BLANK_ID, -peaks[token]))
    kept = [token for token in ranked if token == BLANK_ID or peaks[token]][:POSTERIOR_TOKENS]
    return Posteriors(
        frame_step=write_duration(seconds_per_frame),
        tokens=[tokens[token] for token in kept],
        probabilities=levels[:, kept].byte().numpy().tobytes(),
    )
