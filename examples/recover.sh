#!/usr/bin/env bash
# Remove one layer, then fine-tune the result by LoRA. An interrupted run continues with
# --resume and ends in the same bytes.
set -euo pipefail
mop=${MOP:-./bin/mop}
out=${OUT:-$(mktemp -d)}
model=bench/demo/model
text=bench/demo/text

"$mop" prune --model "$model" --out "$out/cut" --targets 0.04 --sequence L
"$mop" recover --model "$out/cut/0.04" --data "$text/recovery.txt" --split '<|endoftext|>' \
    --out "$out/recovered" --steps 10 --batch 4 --max-length 64 --rank 8
"$mop" eval kl --model "$out/cut/0.04" --reference "$model" --text "$text/evaluation.txt" --split '<|endoftext|>' --context 64
"$mop" eval kl --model "$out/recovered" --reference "$model" --text "$text/evaluation.txt" --split '<|endoftext|>' --context 64
