"""What a model writes: characters, subwords, or phones by a pronunciation lexicon."""
