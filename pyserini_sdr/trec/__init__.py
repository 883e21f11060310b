"""Topics, qrels and runs: reading, writing, fusing, measuring and comparing them. Imports no torch."""
