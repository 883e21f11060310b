"""Negatives for training: documents that a retriever ranks high and nobody calls relevant."""
