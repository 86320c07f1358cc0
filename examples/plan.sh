#!/usr/bin/env bash
# What a path of steps leaves of LLaMA-2-7B. L removes the third-to-last layer, G removes
# heads and neurons from all layers. No weights are read.
set -euo pipefail
mop=${MOP:-./bin/mop}

"$mop" plan --model preset:llama-2-7b --sequence LGGLLLGG --rule paper

# The same as JSON, with the shape of every layer after every step.
"$mop" plan --model preset:llama-2-7b --sequence LGGLLLGG --rule paper --json | head -c 300
echo " ..."
