#!/usr/bin/env bash
# kernels/emu/options.sh MOP: what --device means on a machine with GPUs: MOP, whose companion
# binary lies beside it, runs on the libcuda of libcuda.sh, which shows two.
set -euo pipefail
mop=$1
model=$(dirname "$0")/../../bench/demo/model
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# said STATUS TEXT FLAGS...: a run ends so, and says TEXT in one line on stderr.
said() {
	local want=$1 text=$2 status=0
	shift 2
	"$mop" run --model "$model" --prompt "Once upon" --max-tokens 3 "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	if [ $status -ne "$want" ] || [ "$(grep -c . "$tmp/err")" -ne 1 ] || ! grep -qF -- "$text" "$tmp/err"; then
		echo "mop run $*: want status $want and \"$text\", got $status:" >&2
		cat "$tmp/err" >&2
		exit 1
	fi
}

# same FLAGS...: a run says nothing and gives the text of the one before.
same() {
	"$mop" run --model "$model" --prompt "Once upon" --max-tokens 3 "$@" >"$tmp/again" 2>"$tmp/err"
	if ! cmp "$tmp/out" "$tmp/again" || [ -s "$tmp/err" ]; then
		echo "mop run $*:" >&2
		cat "$tmp/err" >&2
		exit 1
	fi
}

"$mop" inspect --devices >"$tmp/devices"
[ "$(cut -d' ' -f1 "$tmp/devices" | tr '\n' ' ')" = "cpu cuda:0 cuda:1 " ] || { cat "$tmp/devices" >&2; exit 1; }
said 0 "only the CPU supports --activations bfloat16" --activations bfloat16
said 0 "only the CPU supports --kernels generic" --kernels generic
same --device cpu
same --device cuda
same --device cuda:1
same --weights int8 --device cuda:1
same --kernels sm_80
same --kernels sm_90 --device cuda:1
if grep -q "kernels of sm_90a" "$tmp/devices"; then
	same --kernels sm_90a --device cuda
else
	said 1 "want kernels of one of sm_90, sm_80, got sm_90a" --kernels sm_90a
fi
said 1 "there is no such GPU; available: cpu (" --device cuda:2
said 1 "), cuda:0 (host emulation (driver)), cuda:1 (host emulation (driver))" --device cuda:2
"$mop" inspect "$model" --device cuda:1 >/dev/null
if "$mop" inspect "$model" --device cuda:2 2>"$tmp/err" || ! grep -q "there is no such GPU; available: cpu (" "$tmp/err"; then
	echo "mop inspect --device cuda:2: want it refused" >&2
	exit 1
fi
said 2 "want --device cpu or auto, got cuda:1" --device cuda:1 --activations bfloat16
