#!/usr/bin/env bash
# From documents alone to an encoder adapted to them: sets up .venv, makes pseudo-queries from the corpus, trains on them
# without labels or teacher, indexes the corpus, and compares with the encoder as it was.
#
#   bash run_scripts/adapt.sh CORPUS.jsonl                 documents as {"id", "contents"} lines, or a directory of such files
#   bash run_scripts/adapt.sh CORPUS.jsonl --topics topics.tsv --qrels qrels.txt       measures on real queries as well
#
# Options
#   --output DIR          where everything goes (default: adapted)
#   --method NAME         auto, title-body, first-sentence, inverse-cloze, key-phrases or seq2seq (default: auto); seq2seq
#                         needs --generator NAME; see python -m pyserini_sdr.collection pseudo-queries --help
#   --per-document N      pseudo-queries per document (default: 1)
#   --max-documents N     documents that pseudo-queries are made from, drawn at random (default: 20000)
#   --encoder NAME        what to adapt (default: all-MiniLM-L6-v2)
#   --loss NAME           default: distributed-margin
#   --negatives SOURCE    self (what the encoder, untrained, ranks high) or bm25 (needs Java); default: self
#   --steps N             of 32 queries each (default: 100)
#   --learning-rate X     default: 3e-5
#   --max-length N        tokens of a document (default: the encoder's, at most 256 once it is trained)
#   --seed N              default: 0
#   --no-bm25             no BM25 in the report
# VENV=DIR is the virtual environment (default: .venv); VENV=none takes the Python on PATH as it is. BM25 is compared with
# where Java 21+ is found. What is done is skipped; remove the output directory, or give another --output, to start anew.
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh

CORPUS="" OUTPUT="$CALLER/adapted" METHOD=auto GENERATOR="" PER_DOCUMENT=1 MAX_DOCUMENTS=20000 TOPICS="" QRELS=""
ENCODER=all-MiniLM-L6-v2 LOSS=distributed-margin STEPS=100 RATE=3e-5 LENGTH="" SEED=0 BM25=1 NEGATIVES=self
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' run_scripts/adapt.sh; }
fail() { echo "error: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --no-bm25) BM25=0 ;;
    --output|--method|--generator|--per-document|--max-documents|--topics|--qrels|--encoder|--loss|--negatives|--steps|\
    --learning-rate|--max-length|--seed)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --output) OUTPUT="$(absolute "$2")" ;; --method) METHOD="$2" ;; --generator) GENERATOR="$2" ;;
        --per-document) PER_DOCUMENT="$2" ;; --max-documents) MAX_DOCUMENTS="$2" ;; --topics) TOPICS="$(absolute "$2")" ;;
        --qrels) QRELS="$(absolute "$2")" ;; --encoder) ENCODER="$2" ;; --loss) LOSS="$2" ;;
        --negatives) NEGATIVES="$2" ;; --steps) STEPS="$2" ;;
        --learning-rate) RATE="$2" ;; --max-length) LENGTH="$2" ;; --seed) SEED="$2" ;;
      esac
      shift ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *) [ -z "$CORPUS" ] || fail "one corpus, not two: $CORPUS and $1 (see --help)"; CORPUS="$(absolute "$1")" ;;
  esac
  shift
done
[ -n "$CORPUS" ] || fail "a corpus is required (see --help)"
[ -e "$CORPUS" ] || fail "$CORPUS: no such corpus"
[ "${TOPICS:+given}" = "${QRELS:+given}" ] || fail "--topics and --qrels go together"
for FILE in ${TOPICS:+"$TOPICS" "$QRELS"}; do [ -f "$FILE" ] || fail "$FILE: no such file"; done
STEPS="$(at_least_one --steps "$STEPS")"
case "$NEGATIVES" in self|bm25) ;; *) fail "--negatives $NEGATIVES: expected self or bm25" ;; esac
[ "$NEGATIVES$BM25" != bm250 ] || fail "--negatives bm25: not with --no-bm25"
[ -e "$CALLER/$ENCODER" ] && ENCODER="$(absolute "$ENCODER")"
[ -n "$GENERATOR" ] && [ -e "$CALLER/$GENERATOR" ] && GENERATOR="$(absolute "$GENERATOR")"

TOTAL=$SECONDS
environment "quickstart"
START=$SECONDS
if [ -n "$TOPICS" ]; then python run_scripts/adapt_report.py check --corpus "$CORPUS" --topics "$TOPICS" --qrels "$QRELS"; fi
mkdir -p "$OUTPUT/runs"
[ -e "$OUTPUT/pseudo/collection.json" ] || rm -f "$OUTPUT/options"  # of a run that made nothing
FILES=(${TOPICS:+"$TOPICS" "$QRELS"})
[ ! -d "$ENCODER" ] || FILES+=("$ENCODER")
INPUTS="$(python run_scripts/adapt_report.py inputs --corpus "$CORPUS" ${FILES[@]+--files "${FILES[@]}"})"
one_set_of_options "$OUTPUT" \
  "$CORPUS|$METHOD|$GENERATOR|$PER_DOCUMENT|$MAX_DOCUMENTS|$TOPICS|$QRELS|$ENCODER|$LOSS|$STEPS|$RATE|$LENGTH|$SEED|$NEGATIVES
$INPUTS"
PSEUDO="$OUTPUT/pseudo" RUNS="$OUTPUT/runs" LENGTHS=()
[ -z "$LENGTH" ] || LENGTHS=(--max-length "$LENGTH")
if [ $BM25 = 1 ] && ! python -c 'from pyserini_sdr.anserini.java import find_java; find_java()' 2>/dev/null; then
  BM25=0
  [ $NEGATIVES = self ] || fail "--negatives bm25: no Java 21+ found (python -m pyserini_sdr.doctor tells more)"
  printf '\nno Java 21+ found: no BM25 in the report (python -m pyserini_sdr.doctor tells more)\n'
fi

# encode TITLE CORPUS INDEX ENCODER [OPTIONS]
encode() {
  local title="$1" corpus="$2" index="$3" encoder="$4"
  shift 4
  stage "$index/sdr_index.json" "$title" \
    python -m pyserini_sdr.encode input --corpus "$corpus" output --embeddings "$index" --to-faiss \
      encoder --encoder "$encoder" "$@"
}
# search INDEX TOPICS RUN
search() {
  stage "$3" "dense run $(basename "$3" .trec)" \
    python -m pyserini_sdr.search dense --index "$1" --topics "$2" --output "$3" --hits 100
}
# bm25_index CORPUS INDEX
bm25_index() {
  stage "$2/sdr_bm25.json" "BM25 index of $(basename "$1")" python -m pyserini_sdr.index bm25 --input "$1" --index "$2"
}
# bm25 CORPUS INDEX TOPICS RUN
bm25() {
  bm25_index "$1" "$2"
  stage "$4" "BM25 run $(basename "$4" .trec)" \
    python -m pyserini_sdr.search bm25 --index "$2" --topics "$3" --output "$4" --hits 100
}

stage "$PSEUDO/collection.json" "pseudo-queries" \
  python -m pyserini_sdr.collection pseudo-queries "$CORPUS" --output "$PSEUDO" --method "$METHOD" \
    ${GENERATOR:+--generator "$GENERATOR"} --per-document "$PER_DOCUMENT" --max-documents "$MAX_DOCUMENTS" --seed "$SEED"
encode "encode the pseudo-query corpus, untrained" "$PSEUDO" "$OUTPUT/untrained.pseudo.index" "$ENCODER" \
  ${LENGTHS[@]+"${LENGTHS[@]}"}
search "$OUTPUT/untrained.pseudo.index" "$PSEUDO/topics.dev.tsv" "$RUNS/untrained.dev.trec"
search "$OUTPUT/untrained.pseudo.index" "$PSEUDO/topics.test.tsv" "$RUNS/untrained.pseudo.trec"
MINED=(--index "$OUTPUT/untrained.pseudo.index") MINER="the untrained encoder"
if [ "$NEGATIVES" = bm25 ]; then
  bm25_index "$PSEUDO" "$OUTPUT/bm25.pseudo"
  MINED=(--bm25-index "$OUTPUT/bm25.pseudo") MINER=BM25
fi
stage "$OUTPUT/groups.jsonl" "negatives, by $MINER" \
  python -m pyserini_sdr.mine --collection "$PSEUDO" "${MINED[@]}" \
    --max-queries $((STEPS * 32)) --seed "$SEED" --output "$OUTPUT/groups.jsonl"
stage "$OUTPUT/checkpoint/sdr_train.json" "train with $LOSS" \
  python -m pyserini_sdr.train --collection "$PSEUDO" --encoder "$ENCODER" --groups "$OUTPUT/groups.jsonl" \
    --dev-run "$RUNS/untrained.dev.trec" --loss "$LOSS" ${LENGTHS[@]+"${LENGTHS[@]}"} --dropout 0 \
    --max-steps "$STEPS" --eval-steps $(((STEPS + 4) / 5)) --learning-rate "$RATE" --seed "$SEED" --output "$OUTPUT/checkpoint"
encode "encode the pseudo-query corpus, adapted" "$PSEUDO" "$OUTPUT/adapted.pseudo.index" "$OUTPUT/checkpoint"
search "$OUTPUT/adapted.pseudo.index" "$PSEUDO/topics.test.tsv" "$RUNS/adapted.pseudo.trec"
encode "encode the corpus" "$CORPUS" "$OUTPUT/index" "$OUTPUT/checkpoint"
if [ $BM25 = 1 ]; then bm25 "$PSEUDO" "$OUTPUT/bm25.pseudo" "$PSEUDO/topics.test.tsv" "$RUNS/bm25.pseudo.trec"; fi
if [ -n "$TOPICS" ]; then
  encode "encode the corpus, untrained" "$CORPUS" "$OUTPUT/untrained.index" "$ENCODER" \
    ${LENGTHS[@]+"${LENGTHS[@]}"}
  search "$OUTPUT/untrained.index" "$TOPICS" "$RUNS/untrained.topics.trec"
  search "$OUTPUT/index" "$TOPICS" "$RUNS/adapted.topics.trec"
  if [ $BM25 = 1 ]; then bm25 "$CORPUS" "$OUTPUT/bm25" "$TOPICS" "$RUNS/bm25.topics.trec"; fi
fi

printf '\n== report\n'
python run_scripts/adapt_report.py report --output "$OUTPUT" ${TOPICS:+--topics "$TOPICS"} ${QRELS:+--qrels "$QRELS"}
cat <<END

report: $OUTPUT/report.html, report.md   checkpoint: $OUTPUT/checkpoint   index of the corpus: $OUTPUT/index
search it:
  python -m pyserini_sdr.search dense --index $(printf %q "$OUTPUT/index") --topics TOPICS.tsv --output RUN.trec
$((SECONDS - START)) s since installation, $((SECONDS - TOTAL)) s in all; peak memory of a command $(peak_memory "$OUTPUT")
END
