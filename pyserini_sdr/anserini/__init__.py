"""The bridge to Pyserini and Anserini: finding Java, the JVM, BM25, stock topics and stock command lines.

Nothing outside this package imports `pyserini` or `jnius`. `java` and `stock` import neither.
"""
