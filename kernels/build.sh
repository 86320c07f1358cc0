#!/usr/bin/env bash
# kernels/build.sh DIR: compile every kernel to PTX in DIR, one folder for each
# architecture, with the pinned compiler: Debian's clang 19.1.7 (package clang-19).
#
#   sm_80  PTX 7.4; the launcher itself wants a driver of CUDA 11.8 (520) or later
#   sm_90  PTX 7.8: drivers of CUDA 11.8 (520) and later; launches that overlap
#   sm_90a PTX 8.0: drivers of CUDA 12.0 (525) and later, compute capability 9.0 alone;
#          the files with a form of their own for it, in the place of sm_90's, and *_wgmma.cu
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/cuda"
clang=${CLANG:-clang-19}
version=$($clang --version | sed -n 's/.*clang version \([0-9.]*\).*/\1/p' | head -1)
[ "$version" = 19.1.7 ] || { echo "kernels: want clang 19.1.7 (apt-get install clang-19), got ${version:-none}" >&2; exit 1; }
# compile ARCH PTX FILE: comments name the compiler's build, which is not part of the result.
compile() {
	$clang -std=c++17 -x cuda --cuda-device-only --cuda-gpu-arch=sm_$1 --cuda-feature=+ptx$2 -nocudainc -nocudalib \
		-O3 -ffp-contract=fast -Wall -Werror -Wno-parentheses -S "$3" -o - | sed -E '/^[[:space:]]*\/\//d; s/[[:space:]]*\/\/.*$//; /^[[:space:]]*$/d' >"$out/sm_$1/${3%.cu}.ptx"
}
export -f compile
export clang out
all=$(ls *.cu | grep -v '_wgmma\.cu$') # whose kernels only sm_90a has
for target in "80 74 $(echo $all)" "90 78 $(echo $all)" "90a 80 $(echo $(grep -l HOPPER *.cu))"; do
	set -- $target
	mkdir -p "$out/sm_$1"
	for f in "${@:3}"; do
		echo "$1 $2 $f"
	done
done | xargs -P "$(nproc)" -L 1 bash -c 'set -euo pipefail; compile "$@"' _

# The table of kernels, by which the host emulation launches them: name, threads of a block.
cat "$out"/sm_*/*.ptx | awk '
	/\.entry / { split($0, q, /\.entry |\(/); name = q[2] }
	/^\.maxntid / { gsub(",", "", $2); print "KERNEL_ENTRY(" name ", " $2 ")" }' | LC_ALL=C sort -u >"$out/entries.inc"
LC_ALL=C sha256sum *.cu *.cuh >"$out/sources.sha256"
