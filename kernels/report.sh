#!/usr/bin/env bash
# kernels/report.sh: assemble the committed PTX with ptxas (PTXAS, from the package
# nvidia-cuda-nvcc-cu12 or a CUDA toolkit) and put its table into kernels/README.md:
# registers, stack and spills of every kernel. No GPU is needed and none is used.
set -euo pipefail
cd "$(dirname "$0")"
ptxas=${PTXAS:-ptxas}
version=$("$ptxas" --version | sed -n 's/.*release \([0-9.]*\), V\([0-9.]*\).*/\2/p')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for arch in 80 90; do
	for f in cuda/ptx/sm_$arch/*.ptx; do
		"$ptxas" -v -arch=sm_$arch "$f" -o "$tmp/out.cubin" 2>&1 | awk -v arch=$arch '
			/Compiling entry function/ { split($0, q, "\x27"); name = q[2] }
			/bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
			/Used [0-9]+ registers/ { for (i = 1; i <= NF; i++) if ($i == "Used") print name, arch, $(i+1), stack, stores, loads }'
	done
done >"$tmp/rows"
sort "$tmp/rows" | awk -v version="$version" '
	BEGIN { print "Assembler: ptxas " version ".\n\n| kernel | sm_80 registers | sm_90 registers | stack, bytes | spill stores, loads, bytes |\n|---|---:|---:|---:|---:|" }
	$2 == 80 { reg = $3; stack = $4; spill = $5 + $6; s = $5; l = $6 }
	$2 == 90 { if ($4 > stack) stack = $4; if ($5 > s) s = $5; if ($6 > l) l = $6; printf "| %s | %d | %d | %d | %d, %d |\n", $1, reg, $3, stack, s, l }' >"$tmp/table"
awk -v table="$tmp/table" '
	/<!-- ptxas -->/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
	/<!-- end ptxas -->/ { skip = 0 }
	!skip' README.md >"$tmp/readme"
cat "$tmp/readme" >README.md
