"""Index directories: `index` + `docid` as Pyserini has them, plus `sdr_index.json`, which says what made them."""
