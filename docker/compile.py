"""Compiles beam search, with all that it can be asked for, into the folder NUMBA_CACHE_DIR."""

import torch

from asr.decoding import BeamOptions, Phrase, PrefixOptions, make_decoder
from asr.tokens import Tokenizer

tokenizer = Tokenizer(["<blank>", "<space>", "a", "b"])
log_probs = torch.randn(1, 20, tokenizer.size).log_softmax(dim=2)  # (B, T, V)
for options, phrases in (
    (BeamOptions(), ()),
    (BeamOptions(), (Phrase("ab"),)),
    (PrefixOptions(), ()),
):
    decoder = make_decoder(options, tokenizer, 0.01, phrases=phrases)
    decoder.decode(log_probs, torch.tensor([20]))
