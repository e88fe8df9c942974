"""Prefix beam search: decoder, compiled search, and what is known of the language.

This file imports nothing, so that who decodes greedily does without numba.
"""
