#!/usr/bin/env bash
# kernels/emu/pictures.sh MOP: small LLaVAs answer on the libcuda of libcuda.sh as they do on
# the CPU, and bench divides the time to their first token there too.
set -euo pipefail
mop=$1
data=$(cd "$(dirname "$0")/../../runtime/vision/testdata" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/questions" <<'Q'
{"question_id":1,"image":"j420.jpg","text":"Is there a dog?","label":"yes"}
{"question_id":2,"image":"rgba.png","text":"Is there a cat?","label":"no"}
Q
for model in dense pruned flat; do
	for device in cpu cuda; do
		out=$tmp/$model.$device
		"$mop" run --model "$data/models/$model" --image "$data/pictures/wide.png" --image "$data/pictures/exif6.jpg" --prompt "What is this?" \
			--max-tokens 4 --device $device >"$out.text"
		"$mop" eval vqa --task pope --model "$data/models/$model" --questions "$tmp/questions" --images "$data/pictures" --answers "$out.answers" \
			--device $device --json >"$out.scores"
	done
	cmp "$tmp/$model.cpu.text" "$tmp/$model.cuda.text"
	# The weights are random, so that rounding may change a token of a long answer.
	cmp <(cut -c 1-135 "$tmp/$model.cpu.answers") <(cut -c 1-135 "$tmp/$model.cuda.answers")
done
"$mop" bench "$data/models/dense" --image "$data/pictures/j420.jpg" --in 4 --out 2 --runs 2 --discard 1 --format json --device cuda >"$tmp/bench"
grep -q vision "$tmp/bench"
