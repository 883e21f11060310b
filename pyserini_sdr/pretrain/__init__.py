"""Pre-training of an encoder on a corpus as a bottlenecked masked auto-encoder: CoT-MAE, MASTER, plain masking."""
