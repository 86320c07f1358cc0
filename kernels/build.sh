#!/usr/bin/env bash
# kernels/build.sh DIR: compile every kernel to PTX in DIR, one folder for each
# architecture, with the pinned compiler: Debian's clang 19.1.7 (package clang-19).
#
#   sm_80  PTX 7.4; the launcher itself wants a driver of CUDA 11.8 (520) or later
#   sm_90  PTX 7.8: drivers of CUDA 11.8 (520) and later; launches that overlap
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/cuda"
clang=${CLANG:-clang-19}
version=$($clang --version | sed -n 's/.*clang version \([0-9.]*\).*/\1/p' | head -1)
[ "$version" = 19.1.7 ] || { echo "kernels: want clang 19.1.7 (apt-get install clang-19), got ${version:-none}" >&2; exit 1; }
for target in "80 74" "90 78"; do
	set -- $target
	mkdir -p "$out/sm_$1"
	for f in *.cu; do
		# Comments name the compiler's build, which is not part of the result.
		$clang -std=c++17 -x cuda --cuda-device-only --cuda-gpu-arch=sm_$1 --cuda-feature=+ptx$2 -nocudainc -nocudalib \
			-O3 -ffp-contract=fast -Wall -Werror -Wno-parentheses -S "$f" -o - | sed -E '/^[[:space:]]*\/\//d; s/[[:space:]]*\/\/.*$//; /^[[:space:]]*$/d' >"$out/sm_$1/${f%.cu}.ptx"
	done
done
sha256sum *.cu *.cuh >"$out/sources.sha256"
