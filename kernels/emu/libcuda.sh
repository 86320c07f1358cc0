#!/usr/bin/env bash
# kernels/emu/libcuda.sh DIR [EMULATION]: put libcuda.so into DIR, to link against and, with
# EMULATION, the object file of kernels/cuda/emu.cc, to run on. Without it every call fails
# as on a machine without a device. CUDA_HOME/include holds cuda.h of CUDA 11.8 or 12.x.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
emulation=${2:+$(realpath "$2")}
cd "$(dirname "$0")"
header=${CUDA_HOME:?want CUDA_HOME, the folder of CUDA include/cuda.h}/include/cuda.h
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# Every name that the header calls or renames to.
grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$header" | sort -u | awk '{ print "__attribute__((weak)) int " $1 "(void) { return 100; }" }' >"$tmp/stub.c"
gcc -w -fPIC -c "$tmp/stub.c" -o "$tmp/stub.o"
if [ -z "$emulation" ]; then
	gcc -shared -Wl,-soname,libcuda.so.1 "$tmp/stub.o" -o "$out/libcuda.so.1"
else
	g++ -shared -fPIC -std=c++17 -O2 -I"$(dirname "$header")" libcuda.cc "$emulation" "$tmp/stub.o" -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1"
fi
ln -sf libcuda.so.1 "$out/libcuda.so"
