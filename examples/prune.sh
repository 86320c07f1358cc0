#!/usr/bin/env bash
# Prune a model to about 90 % of its parameters. At each step the candidate with the
# smaller KL divergence from the unpruned model is kept.
set -euo pipefail
mop=${MOP:-./bin/mop}
out=${OUT:-$(mktemp -d)}
model=bench/demo/model
text=bench/demo/text

"$mop" inspect "$model"
"$mop" prune --model "$model" --out "$out/pruned" --targets 0.1 --criterion kl \
    --calibration "$text/calibration.jsonl" --prompts 16 \
    --text "$text/windows.txt" --split '<|endoftext|>' --windows 4 --context 128

# The plan lies beside the weights: every step, its scores, and what each layer keeps.
head -c 300 "$out/pruned/0.10/plan.json"
echo " ..."

"$mop" eval ppl --model "$model" --text "$text/evaluation.txt" --split '<|endoftext|>' --context 128
"$mop" eval ppl --model "$out/pruned/0.10" --text "$text/evaluation.txt" --split '<|endoftext|>' --context 128
"$mop" run --model "$out/pruned/0.10" --prompt "Once upon a time" --max-tokens 40
