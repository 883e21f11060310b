"""From a corpus to a Pyserini index directory: streamed, length-sorted, resumable. Needs neither pyserini nor a JVM."""
