"""Compiles beam search, with all that it can be asked for, into the folder NUMBA_CACHE_DIR."""

import torch

from asr.decoding import BeamOptions, Phrase, PrefixOptions, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon
from asr.tokens import Tokenizer

tokenizer = Tokenizer(["<blank>", "<space>", "a", "b"])
said = Language(tokenizer, lexicon=Lexicon({"A": ((2,), (3,))}, tokenizer.word_separator))
log_probs = torch.randn(1, 20, tokenizer.size).log_softmax(dim=2)  # (B, T, V)
for options, language, phrases in (
    (BeamOptions(), None, ()),
    (BeamOptions(), None, (Phrase("ab"),)),
    (BeamOptions(), said, (Phrase("A"),)),
    (PrefixOptions(), None, ()),
):
    decoder = make_decoder(options, tokenizer, 0.01, language, phrases)
    decoder.decode(log_probs, torch.tensor([20]))
