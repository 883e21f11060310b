"""Collections, streamed corpora, training groups. Imports no torch."""
