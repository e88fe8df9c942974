"""Jobs over many files, which go on where they ended."""
