#!/usr/bin/env bash
# From nothing to TREC runs: sets up .venv, makes a collection from the documentation of installed Python packages,
# adapts an encoder to it without labels or teacher, searches, and compares with BM25 and the untrained encoder.
#
#   bash run_scripts/quickstart.sh                  about 10 minutes on 2 cores, after installation
#   bash run_scripts/quickstart.sh --quick          about 4 minutes, on 3,000 documents
#   bash run_scripts/quickstart.sh --collection DIR [--encoder NAME --train-split S --dev-split S --test-split S]
#
# Other options: --compare (trains with infonce too), --steps N, --seed N, --output DIR (default: quickstart).
# What is done is skipped; remove the output directory, or give another --output, to start anew.
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh

COLLECTION="" ENCODER="all-MiniLM-L6-v2" OUTPUT="" TRAIN=train DEV=dev TEST=test STEPS="" SEED=0 QUICK=0 COMPARE=0
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' run_scripts/quickstart.sh; }
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) QUICK=1 ;;
    --compare) COMPARE=1 ;;
    -h|--help) usage; exit 0 ;;
    --collection|--encoder|--output|--train-split|--dev-split|--test-split|--steps|--seed)
      [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --collection) COLLECTION="$2" ;; --encoder) ENCODER="$2" ;; --output) OUTPUT="$2" ;; --train-split) TRAIN="$2" ;;
        --dev-split) DEV="$2" ;; --test-split) TEST="$2" ;; --steps) STEPS="$2" ;; --seed) SEED="$2" ;;
      esac
      shift ;;
    *) echo "error: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
[ -z "$COLLECTION" ] || COLLECTION="$(absolute "$COLLECTION")"
if [ -n "$OUTPUT" ]; then OUTPUT="$(absolute "$OUTPUT")"
elif [ $QUICK = 1 ]; then OUTPUT=quickstart-quick
else OUTPUT=quickstart; fi
[ -e "$CALLER/$ENCODER" ] && ENCODER="$(absolute "$ENCODER")"
if [ -n "$STEPS" ]; then STEPS="$(at_least_one --steps "$STEPS")"
elif [ $QUICK = 1 ]; then STEPS=24
else STEPS=100; fi
EVALUATIONS=5 POOL=(--dev-queries 500 --dev-pool 2000)
[ $QUICK = 0 ] || EVALUATIONS=3 POOL=(--dev-queries 200 --dev-pool 1000)

TOTAL=$SECONDS
environment "quickstart,java"
mkdir -p "$OUTPUT/runs"
one_set_of_options "$OUTPUT" "$COLLECTION|$ENCODER|$TRAIN|$DEV|$TEST|$STEPS|$SEED|$QUICK"

START=$SECONDS
if [ -z "$COLLECTION" ]; then
  COLLECTION="$OUTPUT/collection"
  stage "$COLLECTION/collection.json" "collection" \
    python -m pyserini_sdr.collection build pydocs "$COLLECTION" $([ $QUICK = 1 ] && echo --max-documents 3000)
fi
QRELS="$COLLECTION/qrels.$TEST.txt" TOPICS="$COLLECTION/topics.$TEST.tsv" RUNS="$OUTPUT/runs"

stage "$OUTPUT/bm25/sdr_bm25.json" "BM25 index" \
  python -m pyserini_sdr.index bm25 --input "$COLLECTION" --index "$OUTPUT/bm25"
stage "$RUNS/bm25.trec" "BM25 run" \
  python -m pyserini_sdr.search bm25 --index "$OUTPUT/bm25" --topics "$TOPICS" --output "$RUNS/bm25.trec" --hits 100

stage "$OUTPUT/untrained.index/sdr_index.json" "encode with the untrained encoder" \
  python -m pyserini_sdr.encode input --corpus "$COLLECTION" output --embeddings "$OUTPUT/untrained.index" --to-faiss \
    encoder --encoder "$ENCODER" --max-length 128
stage "$RUNS/untrained.trec" "dense run, untrained" \
  python -m pyserini_sdr.search dense --index "$OUTPUT/untrained.index" --topics "$TOPICS" --output "$RUNS/untrained.trec" \
    --hits 100
stage "$RUNS/untrained.$DEV.trec" "dense run on dev, untrained" \
  python -m pyserini_sdr.search dense --index "$OUTPUT/untrained.index" --topics "$COLLECTION/topics.$DEV.tsv" \
    --output "$RUNS/untrained.$DEV.trec" --hits 100
stage "$OUTPUT/groups.jsonl" "negatives, by the untrained encoder" \
  python -m pyserini_sdr.mine --collection "$COLLECTION" --split "$TRAIN" --index "$OUTPUT/untrained.index" \
    --max-queries $((STEPS * 32)) --output "$OUTPUT/groups.jsonl"

LOSSES="distributed-margin"
[ $COMPARE = 0 ] || LOSSES="$LOSSES infonce"
for LOSS in $LOSSES; do
  stage "$OUTPUT/$LOSS/sdr_train.json" "train with $LOSS" \
    python -m pyserini_sdr.train --collection "$COLLECTION" --train-split "$TRAIN" --dev-split "$DEV" \
      --encoder "$ENCODER" --groups "$OUTPUT/groups.jsonl" --dev-run "$RUNS/untrained.$DEV.trec" --loss "$LOSS" \
      --query-max-length 32 --max-length 128 --dropout 0 --max-steps "$STEPS" \
      --eval-steps $(((STEPS + EVALUATIONS - 1) / EVALUATIONS)) "${POOL[@]}" --seed "$SEED" \
      --output "$OUTPUT/$LOSS"
  stage "$OUTPUT/$LOSS.index/sdr_index.json" "encode with $LOSS" \
    python -m pyserini_sdr.encode input --corpus "$COLLECTION" output --embeddings "$OUTPUT/$LOSS.index" --to-faiss \
      encoder --encoder "$OUTPUT/$LOSS"
  stage "$RUNS/$LOSS.trec" "dense run, $LOSS" \
    python -m pyserini_sdr.search dense --index "$OUTPUT/$LOSS.index" --topics "$TOPICS" --output "$RUNS/$LOSS.trec" \
      --hits 100
done
stage "$RUNS/hybrid.trec" "hybrid of BM25 and distributed-margin" \
  python -m pyserini_sdr.run fuse --runs "$RUNS/distributed-margin.trec" "$RUNS/bm25.trec" --method linear \
    --normalization z-score --weights 1 0.5 --hits 100 --output "$RUNS/hybrid.trec"

# `search dense` leaves the stock command that gives the same run in the run's manifest; here it runs.
STOCK="$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["stock_command"])' \
  "$RUNS/distributed-margin.trec.json")"
WORDS=()
while IFS= read -r -d '' WORD; do WORDS+=("$WORD"); done \
  < <(python -c 'import shlex, sys; [print(word, end="\0") for word in shlex.split(sys.argv[1])]' "$STOCK")
stage "$RUNS/distributed-margin.trec.stock" "the same with stock Pyserini" \
  python -m pyserini_sdr.anserini "${WORDS[@]:2}"  # without its `python -m`

printf '\n== evaluation on %s\n' "$TEST"
EVALUATED=(bm25 untrained $LOSSES hybrid stock) FILES=() CHECKPOINTS=()
for NAME in bm25 untrained $LOSSES hybrid; do FILES+=("$RUNS/$NAME.trec"); done
FILES+=("$RUNS/distributed-margin.trec.stock")
for LOSS in $LOSSES; do CHECKPOINTS+=("$LOSS=$OUTPUT/$LOSS"); done
python -m pyserini_sdr.evaluate --qrels "$QRELS" --runs "${FILES[@]}" --names "${EVALUATED[@]}" --baseline bm25 untrained \
  --topics "$TOPICS" --training "${CHECKPOINTS[@]}" --output "$OUTPUT/evaluation" --overwrite

PEAK="$(peak_memory "$OUTPUT")"

cat <<EOF

report: $OUTPUT/evaluation/report.html   checkpoint: $OUTPUT/distributed-margin   index: $OUTPUT/distributed-margin.index
The same dense run with stock Pyserini (row \`stock\` above; needs Java 21+ and, before Pyserini 2.1, any OPENAI_API_KEY):
  $STOCK
and where plain \`python -m\` does not start Java, under the one that is found:
  python -m pyserini_sdr.anserini ${STOCK#python -m }
$((SECONDS - START)) s since installation, $((SECONDS - TOTAL)) s in all; peak memory of a command $PEAK
EOF
