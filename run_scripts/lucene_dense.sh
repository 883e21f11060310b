#!/usr/bin/env bash
# The Lucene way, end to end: vectors of an index → Anserini's dense indexers → search of the topics by stock Pyserini, and
# a comparison with our FAISS run of the same topics: the same documents, scores (1 + cosine) / 2.
#
#   bash run_scripts/lucene_dense.sh INDEX TOPICS
#
# INDEX holds vectors of length 1 (cosine) that are not compressed: flat, hnsw or ivf. Needs Java 21+.
#
# Options
#   --output DIR          where everything goes (default: lucene-dense)
#   --kind flat|hnsw      Lucene's exact or approximate index (default: flat); of hnsw, overlap is reported, not equality
#   --ef-search N         candidates of Lucene's HNSW (default: as many as --hits; fewer of them give fewer documents)
#   --hits N              documents per topic (default: 100)
#   --format NAME         of the exported vectors: parquet (needs pyarrow) or jsonl (default: parquet)
#   --encoder NAME        for the queries (default: the one that made the index)
#   --threads N           of indexing and searching (default: 1, which makes the same index every time)
# VENV=DIR is the virtual environment (default: .venv); VENV=none takes the Python on PATH as it is. What is done is
# skipped; remove the output directory, or give another --output, to start anew.
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh

OUTPUT="$CALLER/lucene-dense" KIND=flat HITS=100 FORMAT=parquet ENCODER="" THREADS=1 EF="" GIVEN=()
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' run_scripts/lucene_dense.sh; }
fail() { echo "error: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --output|--kind|--ef-search|--hits|--format|--encoder|--threads)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --output) OUTPUT="$(absolute "$2")" ;; --kind) KIND="$2" ;; --ef-search) EF="$2" ;; --hits) HITS="$2" ;; --format) FORMAT="$2" ;;
        --encoder) ENCODER="$2" ;; --threads) THREADS="$2" ;;
      esac
      shift ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *) GIVEN+=("$1") ;;
  esac
  shift
done
[ ${#GIVEN[@]} -eq 2 ] || fail "an index and topics are required (see --help)"
INDEX="$(absolute "${GIVEN[0]}")" TOPICS="${GIVEN[1]}"
[ ! -f "$CALLER/$TOPICS" ] || TOPICS="$CALLER/$TOPICS"
[ -d "$INDEX" ] || fail "$INDEX: no such index directory"
case "$KIND" in flat) CLASS=Flat ;; hnsw) CLASS=Hnsw ;; *) fail "--kind $KIND: expected flat or hnsw" ;; esac
case "$FORMAT" in parquet) READER=Parquet ;; jsonl) READER=Json ;; *) fail "--format $FORMAT: expected parquet or jsonl" ;; esac
HITS="$(at_least_one --hits "$HITS")"
THREADS="$(at_least_one --threads "$THREADS")"
EF="$(at_least_one --ef-search "${EF:-$HITS}")"
[ -z "$ENCODER" ] || [ ! -e "$CALLER/$ENCODER" ] || ENCODER="$(absolute "$ENCODER")"

environment "quickstart,java,lucene"
mkdir -p "$OUTPUT"
one_set_of_options "$OUTPUT" "$INDEX|$TOPICS|$KIND|$HITS|$FORMAT|$ENCODER|$THREADS|$EF|$(cat "$INDEX/docid" "$INDEX/sdr_index.json" | cksum)$([ ! -f "$TOPICS" ] || cksum < "$TOPICS")"

# Inside the output directory names are short: stock Pyserini reads meanings into the words of a path.
HERE="$PWD"
script() { PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" python "$HERE/run_scripts/lucene_dense.py" "$@"; }
lucene_search() {
  local how=(--flat)
  [ "$KIND" = flat ] || how=(--hnsw --ef-search "$EF")
  python -m pyserini_sdr.anserini pyserini.search.lucene --dense "${how[@]}" --index lucene --topics queries.tsv \
    --output lucene.partial --hits "$HITS" --threads "$THREADS"
  mv lucene.partial lucene.trec
}
cd "$OUTPUT"
stage vectors.json "export" \
  python -m pyserini_sdr.index export --index "$INDEX" --to lucene --output vectors --format "$FORMAT" --overwrite
stage lucene.json "index by Anserini ($KIND)" \
  script index --vectors vectors --collection "${READER}DenseVectorCollection" --kind "$CLASS" --threads "$THREADS" \
    --index lucene
stage queries.tsv "encode the topics" \
  script topics --index "$INDEX" --topics "$TOPICS" --output queries.tsv ${ENCODER:+--encoder "$ENCODER"}
stage lucene.trec "search by stock Pyserini ($KIND)" \
  lucene_search
stage faiss.trec "search by FAISS" \
  python -m pyserini_sdr.search dense --index "$INDEX" --topics "$TOPICS" --output faiss.trec --hits "$HITS" \
    ${ENCODER:+--encoder "$ENCODER"}
printf '\n== comparison\n'
script compare --topics "$TOPICS" --lucene lucene.trec --faiss faiss.trec --hits "$HITS" --kind "$CLASS"
