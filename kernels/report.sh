#!/usr/bin/env bash
# kernels/report.sh: assemble the committed PTX with ptxas (PTXAS, from the package
# nvidia-cuda-nvcc-cu12 or a CUDA toolkit) and put its table into docs/performance/registers.md:
# registers, stack and spills of every kernel. No GPU is needed and none is used.
set -euo pipefail
cd "$(dirname "$0")"
ptxas=${PTXAS:-ptxas}
readme=../docs/performance/registers.md
version=$("$ptxas" --version | sed -n 's/.*release \([0-9.]*\), V\([0-9.]*\).*/\2/p')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for arch in 80 90 90a; do
	for f in cuda/ptx/sm_$arch/*.ptx; do
		"$ptxas" -v -arch=sm_$arch "$f" -o "$tmp/out.cubin" >"$tmp/said" 2>&1
		# Products that wait for one another, setmaxnreg that is ignored: not a row of a table.
		if grep -iE 'warning|serializ' "$tmp/said"; then exit 1; fi
		awk -v arch=$arch '
			/Compiling entry function/ { split($0, q, "\x27"); name = q[2] }
			/bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
			/Used [0-9]+ registers/ { for (i = 1; i <= NF; i++) if ($i == "Used") print name, arch, $(i+1), stack, stores, loads }' "$tmp/said"
	done
done >"$tmp/rows"
sort -V "$tmp/rows" | awk -v version="$version" '
	BEGIN { print "Assembler: ptxas " version ".\n\n| kernel | sm_80 registers | sm_90 | sm_90a | stack, bytes | spill stores, loads, bytes |\n|---|---:|---:|---:|---:|---:|" }
	function row() { if (name) printf "| %s | %s | %s | %s | %d | %d, %d |\n", name, reg[80], reg[90], reg["90a"], stack, s, l }
	$1 != name { row(); name = $1; split("", reg); stack = s = l = 0 }
	{ reg[$2] = $3; if ($4 > stack) stack = $4; if ($5 > s) s = $5; if ($6 > l) l = $6 }
	END { row() }' >"$tmp/table"
awk -v table="$tmp/table" '
	/<!-- ptxas -->/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
	/<!-- end ptxas -->/ { skip = 0 }
	!skip' "$readme" >"$tmp/readme"
cat "$tmp/readme" >"$readme"
