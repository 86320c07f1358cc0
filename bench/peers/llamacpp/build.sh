#!/usr/bin/env bash
# Build llama-bench out of the llama.cpp that llama-cpp-python's source package
# carries, once for this processor and once for AVX2 alone.
#
#   build.sh WORK [VERSION]     WORK: an empty directory; VERSION of llama-cpp-python
#
# Leaves WORK/native/bin/llama-bench, WORK/avx2/bin/llama-bench, a Python
# environment with gguf in WORK/venv, and WORK/about.txt: versions and flags.
set -euo pipefail
mkdir -p "$1"
work=$(cd "$1" && pwd)
version=${2:-0.3.36}
cd "$work"
python3 -m venv venv
venv/bin/pip install -q cmake ninja numpy gguf
export PATH="$work/venv/bin:$PATH"
pip download -q --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version"
tar xzf "llama_cpp_python-$version.tar.gz"
source="$work/llama_cpp_python-$version/vendor/llama.cpp" # the real path: its .git is found relative to it
common="-G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF"
native="-DGGML_NATIVE=ON"
avx2="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
for kind in native avx2; do
	# shellcheck disable=SC2086 # flags are words
	cmake -S "$source" -B "$kind" $common ${!kind} > "$kind.cmake.log"
	cmake --build "$kind" --target llama-bench -j2 > "$kind.build.log"
done
{
	echo "llama-cpp-python $version, llama.cpp $(git -C "$source" rev-parse HEAD 2> /dev/null || grep -m1 -o 'llama.cpp@[0-9a-f]*' "llama_cpp_python-$version/CHANGELOG.md")"
	echo "$(cc --version | head -1)"
	for kind in native avx2; do
		echo "$kind: ${common#-G Ninja } ${!kind} ($(grep -h 'CPU backend variant' "$kind.cmake.log" | sed 's/.*ggml-cpu: //'))"
	done
} | tee about.txt
