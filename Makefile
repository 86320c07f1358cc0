# mop: see README.md.
export CGO_ENABLED = 0
GOFLAGS_BUILD = -trimpath -buildvcs=auto

.PHONY: build demo test check bench fuzz clean emu-test kernels kernels-check ptxas-report

build: ## ./bin/mop
	go build $(GOFLAGS_BUILD) -o bin/mop ./cmd/mop

demo: build ## prune the small model, measure, write out/demo
	./bin/mop demo --out out/demo

# The CUDA kernels on the host, a sample of them; needs a C++ compiler.
EMU = CGO_ENABLED=1 go test -tags cudaemu
test: build ## all tests
	go test ./...
	@if command -v g++ >/dev/null; then $(EMU) -short ./runtime/device/cuda; else echo "no g++: the CUDA kernels' tests on the host are left out"; fi

emu-test: ## every CUDA kernel and the whole CUDA device, emulated on the host
	$(EMU) -timeout 10m ./kernels/cuda ./runtime/device/cuda
	$(EMU) -timeout 10m -run Emulated ./prune

kernels: ## .cu -> PTX, by the pinned compiler
	kernels/build.sh kernels/cuda/ptx

kernels-check: ## the committed PTX is what the pinned compiler makes
	@d=$$(mktemp -d); kernels/build.sh $$d && diff -r $$d kernels/cuda/ptx && echo "kernels: the PTX is up to date"; rc=$$?; rm -rf $$d; exit $$rc

ptxas-report: ## registers and spills of every kernel, into kernels/README.md
	kernels/report.sh

check: ## format, vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed: $$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

bench: build ## latency of a preset along the first released path, random weights
	mkdir -p out
	./bin/mop plan --model preset:tinyllama-1.1b --sequence LGGLLLGGLLGLGLLGGL --rule mlp-only --json > out/tinyllama-plan.json
	./bin/mop bench preset:tinyllama-1.1b --plan out/tinyllama-plan.json --at 5,8,11 --out 16 --runs 6 --discard 2

FUZZTIME = 20s
fuzz: ## every fuzz target, FUZZTIME each
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; done; done

clean:
	rm -rf bin out
