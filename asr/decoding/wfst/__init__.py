"""Decoding graphs: CTC's topology, a lexicon and a language model as one transducer.

Miao, Gowayyed & Metze, "EESEN: end-to-end speech recognition using deep RNN models and WFST-based
decoding" (2015), section 4: T for tokens, L for the lexicon, G for the grammar, composed to TLG.
"""
