"""peephole-asr: bidirectional peephole LSTMs trained with CTC, from audio to text."""

__version__ = "0.1.0"
