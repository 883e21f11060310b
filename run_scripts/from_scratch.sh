#!/usr/bin/env bash
# From raw text alone to an encoder and its index: a tokenizer learnt from the corpus, a new backbone, pre-training as a
# bottlenecked masked auto-encoder, then all that adapt.sh does: pseudo-queries, margins without labels or teacher, the
# index of the corpus, runs, and a report against the encoder before its margins ("untrained" there) and BM25.
#
#   bash run_scripts/from_scratch.sh CORPUS.jsonl          documents as {"id", "contents"} lines, or a directory of such files
#   bash run_scripts/from_scratch.sh CORPUS.jsonl --topics topics.tsv --qrels qrels.txt    measures on real queries as well
#
# Options
#   --output DIR          where everything goes (default: from-scratch)
#   --pretraining NAME    cot-mae, master or mlm (default: cot-mae)
#   --pretrain-steps N    of 32 documents each (default: 300: a trial; an encoder worth using takes tens of thousands)
#   --pretrain-rate X     learning rate of pre-training (default: 1e-3)
#   --layers N            of the new encoder (default: 4)
#   --hidden-size N       dimensions of its vectors (default: 256)
#   --heads N             of its attention (default: 4)
#   --vocab-size N        tokens of the new tokenizer (default: 8192)
#   --max-length N        tokens of a document that the new encoder can read (default: 128)
#   --negatives SOURCE    bm25 or self (default: bm25 where Java 21+ is found, else self)
#   --learning-rate X     of the margins (default: 1e-4)
#   --seed N              default: 0
#   --topics FILE, --qrels FILE, --no-bm25, --method, --generator, --per-document, --max-documents, --loss, --steps:
#                         as adapt.sh has them
# VENV=DIR is the virtual environment (default: .venv); VENV=none takes the Python on PATH as it is. What is done is
# skipped; remove the output directory, or give another --output, to start anew.
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh

CORPUS="" OUTPUT="$CALLER/from-scratch" PRETRAINING=cot-mae PRETRAIN_STEPS=300 PRETRAIN_RATE=1e-3 LAYERS=4 HIDDEN=256 HEADS=4
VOCABULARY=8192 LENGTH=128 NEGATIVES="" RATE=1e-4 SEED=0 BM25=1 REST=()
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' run_scripts/from_scratch.sh; }
fail() { echo "error: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --no-bm25) BM25=0 ;;
    --output|--pretraining|--pretrain-steps|--pretrain-rate|--layers|--hidden-size|--heads|--vocab-size|--max-length|\
    --negatives|--learning-rate|--seed|--topics|--qrels|--method|--generator|--per-document|--max-documents|--loss|--steps)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --output) OUTPUT="$(absolute "$2")" ;; --pretraining) PRETRAINING="$2" ;; --pretrain-steps) PRETRAIN_STEPS="$2" ;;
        --pretrain-rate) PRETRAIN_RATE="$2" ;; --layers) LAYERS="$2" ;; --hidden-size) HIDDEN="$2" ;; --heads) HEADS="$2" ;;
        --vocab-size) VOCABULARY="$2" ;; --max-length) LENGTH="$2" ;; --negatives) NEGATIVES="$2" ;;
        --learning-rate) RATE="$2" ;; --seed) SEED="$2" ;;
        --topics|--qrels) [ -f "$(absolute "$2")" ] || fail "$2: no such file"; REST+=("$1" "$(absolute "$2")") ;;
        --generator) if [ -e "$(absolute "$2")" ]; then REST+=("$1" "$(absolute "$2")"); else REST+=("$1" "$2"); fi ;;
        *) REST+=("$1" "$2") ;;
      esac
      shift ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *) [ -z "$CORPUS" ] || fail "one corpus, not two: $CORPUS and $1 (see --help)"; CORPUS="$(absolute "$1")" ;;
  esac
  shift
done
[ -n "$CORPUS" ] || fail "a corpus is required (see --help)"
[ -e "$CORPUS" ] || fail "$CORPUS: no such corpus"
case " ${REST[*]-} " in
  *" --topics "*" --qrels "*|*" --qrels "*" --topics "*) ;;
  *" --topics "*|*" --qrels "*) fail "--topics and --qrels go together" ;;
esac
case "$NEGATIVES" in ''|self|bm25) ;; *) fail "--negatives $NEGATIVES: expected self or bm25" ;; esac
PRETRAIN_STEPS="$(at_least_one --pretrain-steps "$PRETRAIN_STEPS")"

environment "quickstart"
if [ -z "$NEGATIVES" ]; then
  NEGATIVES=self
  if [ $BM25 = 1 ] && python -c 'from pyserini_sdr.anserini.java import find_java; find_java()' 2>/dev/null; then
    NEGATIVES=bm25
  fi
fi
mkdir -p "$OUTPUT/pretraining"
INPUTS="$(python run_scripts/adapt_report.py inputs --corpus "$CORPUS")"
[ -e "$OUTPUT/encoder/sdr_pretrain.json" ] || [ -e "$OUTPUT/encoder.parts" ] || rm -f "$OUTPUT/pretraining/options"
one_set_of_options "$OUTPUT/pretraining" \
  "$CORPUS|$PRETRAINING|$PRETRAIN_STEPS|$PRETRAIN_RATE|$LAYERS|$HIDDEN|$HEADS|$VOCABULARY|$LENGTH|$SEED
$INPUTS"

stage "$OUTPUT/encoder/sdr_pretrain.json" "tokenizer, backbone, and $PRETRAINING" \
  python -m pyserini_sdr.pretrain --corpus "$CORPUS" --from-scratch --layers "$LAYERS" --hidden-size "$HIDDEN" \
    --heads "$HEADS" --vocab-size "$VOCABULARY" --max-length "$LENGTH" --method "$PRETRAINING" --batch-size 32 --dropout 0 \
    --max-steps "$PRETRAIN_STEPS" --learning-rate "$PRETRAIN_RATE" --seed "$SEED" --output "$OUTPUT/encoder"
[ $BM25 = 1 ] || REST+=(--no-bm25)
exec bash run_scripts/adapt.sh "$CORPUS" --encoder "$OUTPUT/encoder" --output "$OUTPUT" --negatives "$NEGATIVES" \
  --learning-rate "$RATE" --seed "$SEED" ${REST[@]+"${REST[@]}"}
