"""Searching: dense, BM25 and both, from topics to a TREC run."""
