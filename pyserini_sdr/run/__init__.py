"""The command `run`: validates, repairs and fuses TREC runs."""
