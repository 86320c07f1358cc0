#!/bin/sh
# mop.sh MOP MODEL TEXT THREADS ACTIVATIONS [STEPS]: the same of mop, as a JSON row.
set -e
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
row=$("$1" recover --model "$2" --data "$3" --out "$out/model" --threads "$4" --activations "$5" --steps "${6:-4}" --batch 1 --no-shuffle --checkpoint-every 0 --json)
printf '[%s]\n' "$row"
