"""Audio from outside is decoded in processes of its own."""
