#!/usr/bin/env bash
# A table of all losses on one collection, with a cross-encoder that is trained here as teacher: dev only, a small budget.
#
#   bash run_scripts/losses_table.sh --collection DIR [--dev-split dev] [--output losses]
#
# Other options: --queries N (training queries, 1200), --cross-steps N (of the cross-encoder, 150), --bi-steps N (of the
# bi-encoder that serves as live teacher, 70), --jobs N (runs at a time, 2), --grid "OPTIONS" and --seeds "OPTIONS" (for
# compare_losses.py; default: its grid, then seeds 1 and 2 of seven losses).
# What is done is skipped; remove the output directory, or give another --output, to start anew.
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh

COLLECTION="" DEV=dev OUTPUT=losses QUERIES=1200 CROSS=150 BI=70 JOBS=2 GRID=""
SEEDS="--seeds 1 2 --best-only --losses static-margin adaptive-margin distributed-margin infonce margin-mse kl ckl"
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' run_scripts/losses_table.sh; }
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --collection|--dev-split|--output|--queries|--cross-steps|--bi-steps|--jobs|--grid|--seeds)
      [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --collection) COLLECTION="$(absolute "$2")" ;; --dev-split) DEV="$2" ;; --output) OUTPUT="$(absolute "$2")" ;;
        --queries) QUERIES="$(at_least_one "$1" "$2")" ;; --cross-steps) CROSS="$(at_least_one "$1" "$2")" ;;
        --bi-steps) BI="$(at_least_one "$1" "$2")" ;; --jobs) JOBS="$(at_least_one "$1" "$2")" ;;
        --grid) GRID="$2" ;; --seeds) SEEDS="$2" ;;
      esac
      shift ;;
    *) echo "error: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
[ -n "$COLLECTION" ] || { echo "error: --collection is required (see --help)" >&2; exit 2; }

environment "quickstart,java"
mkdir -p "$OUTPUT"
one_set_of_options "$OUTPUT" "$COLLECTION|$DEV|$QUERIES|$CROSS|$BI"

stage "$OUTPUT/bm25/sdr_bm25.json" "BM25 index" \
  python -m pyserini_sdr.index bm25 --input "$COLLECTION" --index "$OUTPUT/bm25"
stage "$OUTPUT/groups.jsonl" "negatives by BM25" \
  python -m pyserini_sdr.mine --collection "$COLLECTION" --bm25-index "$OUTPUT/bm25" --max-queries "$QUERIES" \
    --negatives 7 --output "$OUTPUT/groups.jsonl"
stage "$OUTPUT/dev.trec" "BM25 run on dev" \
  python -m pyserini_sdr.search bm25 --index "$OUTPUT/bm25" --topics "$COLLECTION/topics.$DEV.tsv" --hits 20 \
    --output "$OUTPUT/dev.trec"
[ -e "$OUTPUT/dev.top3.trec" ] || awk '$4 <= 3' "$OUTPUT/dev.trec" > "$OUTPUT/dev.top3.trec"  # a small pool, with hard ones
[ -e "$OUTPUT/topics.tsv" ] || python - "$OUTPUT" <<'PY'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
groups = map(json.loads, (folder / "groups.jsonl").open())
(folder / "topics.tsv").write_text("".join(f"{g['query_id']}\t{g['query']}\n" for g in groups))
PY
stage "$OUTPUT/train.trec" "BM25 run on the training queries" \
  python -m pyserini_sdr.search bm25 --index "$OUTPUT/bm25" --topics "$OUTPUT/topics.tsv" --hits 1000 \
    --output "$OUTPUT/train.trec"

stage "$OUTPUT/cross/sdr_teach.json" "cross-encoder" \
  python -m pyserini_sdr.teach --train --collection "$COLLECTION" --groups "$OUTPUT/groups.jsonl" \
    --encoder all-MiniLM-L6-v2 --dev-run "$OUTPUT/dev.trec" --dev-split "$DEV" --dev-depth 20 --dev-queries 100 \
    --batch-size 16 --negatives 5 --max-steps "$CROSS" --eval-steps 50 --learning-rate 1e-4 --max-length 96 --dropout 0 \
    --output "$OUTPUT/cross"
stage "$OUTPUT/bm25scored.jsonl" "BM25's scores" \
  python -m pyserini_sdr.teach --groups "$OUTPUT/groups.jsonl" --run "$OUTPUT/train.trec" --missing lowest --name bm25 \
    --output "$OUTPUT/bm25scored.jsonl"
stage "$OUTPUT/scored.jsonl" "the cross-encoder's scores" \
  python -m pyserini_sdr.teach --collection "$COLLECTION" --groups "$OUTPUT/bm25scored.jsonl" --teacher "$OUTPUT/cross" \
    --name cross --max-length 96 --output "$OUTPUT/scored.jsonl"
stage "$OUTPUT/bi/sdr_train.json" "bi-encoder teacher" \
  python -m pyserini_sdr.train --collection "$COLLECTION" --groups "$OUTPUT/groups.jsonl" --encoder all-MiniLM-L6-v2 \
    --loss infonce --max-steps "$BI" --eval-steps $(((BI + 1) / 2)) --dropout 0 --query-max-length 32 --max-length 96 \
    --dev-split "$DEV" --dev-run "$OUTPUT/dev.top3.trec" --dev-pool 300 --dev-queries 200 --output "$OUTPUT/bi"

for OPTIONS in "$GRID" "$SEEDS" --timing; do
  # shellcheck disable=SC2086  # the options are words
  python run_scripts/compare_losses.py --collection "$COLLECTION" --groups "$OUTPUT/scored.jsonl" --cross cross \
    --second bm25 --bi "$OUTPUT/bi" --dev-run "$OUTPUT/dev.top3.trec" --dev-split "$DEV" --output "$OUTPUT/table" \
    --jobs "$JOBS" $OPTIONS
done
