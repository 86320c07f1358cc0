#!/bin/sh
# Fine-tune an adapter on two processes with torchrun, and bring it back into mop.
#
#   torchrun.sh MOP WORK BIN     BIN: the folder of torchrun and python
set -e
mop=$1 work=$2 bin=$3
here=$(cd "$(dirname "$0")" && pwd)
text=$here/../demo/text/calibration.jsonl
rm -rf "$work"
mkdir -p "$work"
"$mop" init --config "$here/cases/different.json" --tokenizer "$here/../demo/model" --seed 1 --out "$work/model"
OMP_NUM_THREADS=1 "$bin/torchrun" --nproc-per-node 2 "$here/finetune.py" "$work/model" "$text" "$work/adapter" 20
# One step of next to no learning rate merges the adapter as it is.
"$mop" recover --model "$work/model" --data "$text" --adapter-init "$work/adapter" --steps 1 --batch 1 --max-length 16 --lr 1e-12 --dropout 0 \
	--out "$work/merged" --device cpu
"$bin/python" - "$work" <<'P'
import sys
import peft
import torch
from transformers import AutoModelForCausalLM

load = lambda d: AutoModelForCausalLM.from_pretrained(f"{sys.argv[1]}/{d}", trust_remote_code=True, dtype=torch.float32)
theirs = peft.PeftModel.from_pretrained(load("model"), f"{sys.argv[1]}/adapter").merge_and_unload().state_dict()
ours, base = load("merged").state_dict(), load("model").state_dict()
worst = max((theirs[k] - ours[k]).abs().max().item() for k in ours)
moved = max((theirs[k] - base[k]).abs().max().item() for k in base)
print(f"{'ok  ' if worst < 1e-6 < moved else 'FAIL'} torchrun with 2 processes, adapter brought back: {len(ours)} tensors within {worst:.1e}; training moved them by up to {moved:.1e}")
sys.exit(not worst < 1e-6 < moved)
P
