# mop: see README.md.
export CGO_ENABLED = 0
GOFLAGS_BUILD = -trimpath -buildvcs=auto

.PHONY: build demo test check bench fuzz clean

build: ## ./bin/mop
	go build $(GOFLAGS_BUILD) -o bin/mop ./cmd/mop

demo: build ## prune the small model, measure, write out/demo
	./bin/mop demo --out out/demo

test: build ## all tests
	go test ./...

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
