"""N-gram language models: estimated from text, read from and written to ARPA files, queried.

This file imports nothing, so that estimating and writing do without numba, which querying and
reading compile with.
"""
