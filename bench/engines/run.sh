#!/bin/sh
# Compare models that mop writes in every engine with mop: see check.py and llamacpp.py.
#
#   run.sh MOP WORK [ENGINE...]     ENGINE: transformers-4.57 transformers-5.24 peft
#                                   peft-4.57 lm-eval vllm torchrun llama.cpp; default: all
#
# VENV is the environment, WORK/venv by default; environment.sh makes it where it is absent.
set -e
mop=$1 work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"
work=$(cd "$work" && pwd)
venv=${VENV:-$work/venv}
"$here/environment.sh" "$venv"
export HF_MODULES_CACHE="$work/modules"
python=$venv/bin/python
failed=
for engine in ${*:-transformers-4.57 transformers-5.24 peft-4.57 peft lm-eval vllm torchrun llama.cpp}; do
	case $engine in
	transformers-*) PYTHONPATH=$venv/$engine "$python" "$here/check.py" transformers --mop "$mop" --work "$work/$engine" ;;
	peft-4.57) PYTHONPATH=$venv/transformers-4.57 "$python" "$here/check.py" peft --mop "$mop" --work "$work/$engine" ;;
	torchrun) "$here/torchrun.sh" "$mop" "$work/torchrun" "$venv/bin" ;;
	llama.cpp) "$python" "$here/llamacpp.py" --mop "$mop" --work "$work/llamacpp" ;;
	*) "$python" "$here/check.py" "$engine" --mop "$mop" --work "$work/$engine" ;;
	esac || failed="$failed $engine"
done
if [ -n "$failed" ]; then
	echo "engines that differ:$failed" >&2
	exit 1
fi
echo "all engines agree with mop"
