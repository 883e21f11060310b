"""The command `run`: validates, repairs, fuses, pools and compares TREC runs."""
