"""Training: groups of texts in, a checkpoint selected on dev out. Needs neither pyserini nor a JVM."""
