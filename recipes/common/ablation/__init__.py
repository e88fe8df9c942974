"""The command ``ablation``: one option after another, beside the same training without it."""
