#!/usr/bin/env bash
# bench/gpu/bundle.sh DIR TESTS: after `make cuda`, put into DIR what a machine with a
# GPU needs to run the GPU suite: binaries, the compiled test programs of TESTS in the
# places that their relative paths expect, models, scripts. SANITIZER=DIR adds NVIDIA's
# compute-sanitizer, as make gpu-bundle does.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1
rm -rf "$out"
mkdir -p "$out/bin" "$out/data" "$out/repo/runtime/device/cuda" "$out/repo/runtime/model" "$out/repo/runtime/dataset" "$out/repo/runtime/train" "$out/repo/runtime/vision" "$out/repo/prune/finetune" "$out/repo/bench/demo"
cp bin/mop-cuda "$out/bin/"
cp "$2/device.test" "$out/repo/runtime/device/cuda/"
cp "$2/prune.test" "$out/repo/prune/"
cp "$2/finetune.test" "$out/repo/prune/finetune/"
cp go.mod "$out/repo/"
cp -r runtime/model/testdata "$out/repo/runtime/model/"
cp -r runtime/dataset/testdata "$out/repo/runtime/dataset/"
cp -r runtime/train/testdata "$out/repo/runtime/train/"
cp -r runtime/vision/testdata "$out/repo/runtime/vision/"
cp -r prune/finetune/testdata "$out/repo/prune/finetune/"
cp -r bench/demo/model bench/demo/text "$out/repo/bench/demo/"
data=${MOP_TEST_DATA:-../shared/data}
if [ -d "$data/stories260K" ]; then
	cp -r "$data/stories260K" "$out/data/"
else
	echo "bundle: no stories260K under $data: its tests will count as not run" >&2
fi
for name in tokenizer-llama2 tokenizer-llama3 zero-shot; do
	if [ -d "$data/$name" ]; then
		cp -r "$data/$name" "$out/data/"
	else
		echo "bundle: no $name under $data: the parts quality and serving need it" >&2
	fi
done
[ -z "${SANITIZER:-}" ] || cp -r "$SANITIZER" "$out/sanitizer"
cp bench/gpu/gpu-suite.sh bench/gpu/*.py bench/training/alpaca.json "$out/"
# The pruned shapes that PyTorch is measured on: peers.py reads them.
mkdir "$out/plans"
for base in "llama-2-7b paper" "llama-3-8b mlp-only"; do
	set -- $base
	bin/mop plan --device cpu --model "preset:$1" --sequence LGGLLLGGLLGLGLLGGL --rule "$2" --json >"$out/plans/$1.json"
done
git describe --always --dirty >"$out/commit" 2>/dev/null || echo unknown >"$out/commit"
strip "$out/bin/mop-cuda" "$out"/repo/runtime/device/cuda/device.test "$out"/repo/prune/prune.test "$out"/repo/prune/finetune/finetune.test
# On a machine with a GPU, mop only executes its companion binary mop-cuda. In the bundle a
# script does that.
printf '#!/bin/sh\nexec "$(dirname "$0")/mop-cuda" "$@"\n' >"$out/bin/mop"
chmod +x "$out/bin/mop"
tar -C "$(dirname "$out")" -czf "$out.tgz" "$(basename "$out")"
size=$(du -sm "$out.tgz" | cut -f1)
echo "$out: $(du -sm "$out" | cut -f1) MiB; $out.tgz: $size MiB"
[ "$size" -le 64 ] || { echo "bundle: $out.tgz: want at most 64 MiB, got $size" >&2; exit 1; }
