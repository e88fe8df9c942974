"""Speech that is still going on becomes text: partial results, and a final one a segment.

The network's work and the rest are apart. Whoever has many streams of one model computes the next
chunk of all that are ready at once, with :meth:`asr.stream.Streamer.step`, and gives each stream
its own log-probabilities. Or :func:`step` does both.

    stream = LiveStream(streamer, decoder, tokenizer)
    stream.push(samples)
    while stream.is_ready:
        [log_probs] = streamer.step([stream.session])
        for event in stream.accept(log_probs):
            ...

A stream goes on for hours. Its segments follow each other, each a decoding of its own, and all
times count from the beginning of the stream. What events say depends on the audio and on where the
client forced an end, never on the pieces that the audio came in.
"""

from asr.live.endpoint import EndpointOptions, EndpointRule, Reason
from asr.live.events import Event, Final, Interim, LiveOptions
from asr.live.stream import LiveStream, step

__all__ = [
    "EndpointOptions",
    "EndpointRule",
    "Event",
    "Final",
    "Interim",
    "LiveOptions",
    "LiveStream",
    "Reason",
    "step",
]
