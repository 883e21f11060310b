"""The command `evaluate`: runs against qrels with intervals, tests and a report."""
