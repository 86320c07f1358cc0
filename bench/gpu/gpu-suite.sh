#!/usr/bin/env bash
# gpu-suite.sh trace|kernels|speed|training|serving|peers|quality|details [--quick]
# [--budget=SECONDS], or gpu-suite.sh first|second|all [--budget=SECONDS] for several parts, each in the time that is
# left: first is at most nine minutes of the most valuable rows, second the rest in another nine,
# all the two of them in 15 minutes; or gpu-suite.sh --quick for a slice of kernels, speed,
# training and peers. Steps that do not fit the time budget of a part are cut off or not run, and
# their rows say so. The script runs from its own folder on a machine with a GPU and Python; it
# needs neither Go nor a network. Every row is written to results/ as soon as it is known. The
# exit status is 0 only if every row is ok; a step that could not run is not ok.
#
#   trace    every kernel launch of a training step, of prompts and of decode steps timed; the
#            prices of the tiles of wgmma; three minutes in all
#   kernels  every kernel against its formula; whole models, prunes by kl and training
#            against the CPU and PyTorch; memcheck on small shapes, racecheck on one of
#            each kind (both need compute-sanitizer)
#   speed    the card's roofline by PyTorch; llama-2-7b along the released path; decode of 1 to
#            64 sequences; weights of 8 bits; llama-3-8b along its path; long contexts with a
#            KV cache of 16 bits and of 8
#   training adapters of llama-2-7b and llama-3-8b at 40 %, 512 tokens a row and Alpaca's
#            own lengths
#   serving  llama-2-7b and llama-3-8b behind the server, 1, 8 and 16 requests at a time
#   peers    peft on the shapes of training and PyTorch transformers on those of speed (needs
#            torch, transformers and peft)
#   quality  llama-2-7b (random weights) through the five tasks, all questions
#   details  each kernel alone; llava-1.5-7b with one picture; rounded widths; a sweep of
#            tinyllama-1.1b, and 20 random plans against the predictions from its table
#
# --tiny tests the scripts themselves on a machine without a GPU, with a libcuda that runs the
# kernels on the host. It uses the demo's model everywhere, and its times mean nothing.
set -uo pipefail
cd "$(dirname "$0")"
root=$PWD
usage() {
	sed -n '2,/^set /{/^#/p}' "$root/gpu-suite.sh" >&2
	exit 2
}
part= quick= tiny= budget=
for a in "$@"; do
	case $a in
	trace | kernels | speed | training | serving | peers | quality | details | first | second | all) [ -z "$part" ] || usage; part=$a ;;
	--quick) quick=1 ;;
	--tiny) tiny=--tiny ;;
	--budget=*[!0-9]* | --budget=) usage ;;
	--budget=*) budget=${a#*=} ;;
	*) usage ;;
	esac
done

# A part that is stopped ends its child process and keeps the rows written so far. If the part
# is killed, its child process ends too.
child= running= out=
stop() {
	trap '' TERM INT HUP
	[ -z "$out" ] || row "${running:-$part}" STOPPED "by a signal"
	[ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null
	[ -z "$out" ] || table
	exit 143
}
trap stop TERM INT HUP
leash=()
setpriv --pdeathsig TERM true 2>/dev/null && leash=(setpriv --pdeathsig TERM)

case $part in first | second | all)
	[ -z "$quick" ] || usage
	rc=0 most=${budget:-$([ $part = all ] && echo 900 || echo 540)} begin=$SECONDS
	[ -n "$tiny" ] && [ -z "$budget" ] && most=86400
	# at SECONDS PART...: run a part within SECONDS of the time that is left. A part for which less
	# than 10 seconds are left is not started.
	at() {
		local left=$((most - (SECONDS - begin))) seconds=$1
		[ $most -eq 86400 ] && seconds=$left
		shift
		if [ $left -lt 10 ]; then
			echo "$*: not started, no time left" >&2
			rc=1
			return
		fi
		"${leash[@]}" "$root/gpu-suite.sh" "$@" $tiny --budget=$((left < seconds ? left : seconds)) &
		child=$!
		wait "$child" || rc=1
		child=
	}
	if [ $part != second ]; then
		at 50 kernels --quick
		at 170 trace
		at 200 speed
		at 120 training
	fi
	if [ $part != first ]; then
		at 70 serving
		at 120 kernels
		at 60 quality --quick
		at 210 peers
		at 525 details
	fi
	exit $rc
	;;
esac

if [ -z "$part" ]; then
	[ -n "$quick" ] && [ -z "$budget" ] || usage
	rc=0
	for p in kernels speed training peers; do
		"${leash[@]}" "$root/gpu-suite.sh" $p --quick $tiny &
		child=$!
		wait "$child" || rc=1
	done
	exit $rc
fi

python=${PYTHON:-python3}
export MOP_TEST_DATA=$root/data
out=$root/results/$part${quick:+-quick}$tiny
[ ! -e "$out" ] || mv "$out" "$out-before-$(date -u +%Y%m%dT%H%M%SZ)"
mkdir -p "$out"
rows=$out/rows.tsv
: >"$rows"
begin=$SECONDS
limit=525 # a part ends before nine minutes, the four slices before three
[ "$part" = quality ] && limit=590
if [ -n "$quick" ]; then
	case $part in kernels) limit=60 ;; peers) limit=35 ;; *) limit=40 ;; esac
fi
[ $part = trace ] && limit=180
[ -n "$tiny" ] && limit=86400
limit=${budget:-$limit}
git_commit=$(cat commit 2>/dev/null || echo unknown)
{
	echo "commit $git_commit"
	date -u +%Y-%m-%dT%H:%M:%SZ
	nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>&1
} | tee "$out/machine.txt"

# row NAME RESULT NOTE: one line, at once.
row() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" | tee -a "$rows"; }

# table prints the rows written so far.
table() { "$python" "$root/table.py" "$part" "$out" | tee "$out/table.md"; }

# run NAME SECONDS CMD...: the command's log in its own file, its row when it ends. A shell in CMD
# execs its last program, so that one that does not stop when its time is over is killed.
run() {
	local name=$1 most=$2 left=$((limit - (SECONDS - begin)))
	shift 2
	if [ $left -lt 5 ]; then
		row "$name" "NOT RUN" "no time left"
		return 1
	fi
	[ -n "$tiny" ] && most=$left # an emulated GPU takes as long as it takes
	[ "$most" -gt $left ] && most=$left
	local log="$out/${name//[^A-Za-z0-9._-]/_}.log" start=$SECONDS rc
	running=$name
	"${leash[@]}" timeout -k 5 "$most" "${leash[@]}" "$@" >"$log" 2>&1 &
	child=$!
	wait "$child"
	rc=$?
	child= running=
	local took="$((SECONDS - start)) s"
	if [ $rc -eq 124 ] || [ $rc -eq 137 -a $((SECONDS - start)) -ge "$most" ]; then
		row "$name" "TIME OUT" "$took"
	elif [ $rc -ne 0 ]; then
		row "$name" FAIL "$took; $(grep -m1 -E 'FAIL|rror|mop:' "$log" | cut -c1-160)"
	elif grep -q -- '--- SKIP' "$log"; then
		row "$name" SKIPPED "$took; $(grep -m1 -- '--- SKIP' "$log")"
	else
		row "$name" ok "$took"
	fi
	return $rc
}

tests=$root/repo/runtime/device/cuda/device.test

# results PREFIX: writes a row for each test as soon as it ends, from a test program's output.
results() {
	local line what= name took
	ended() {
		case $what in
		PASS:) row "$1$name" ok "$took" ;;
		FAIL:) row "$1$name" FAIL "$took" ;;
		SKIP:) row "$1$name" SKIPPED "$took" ;;
		esac >&3
		what=
	}
	while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in
		'--- '*) ended "$1" && read -r _ what name took <<<"$line" ;;
		' '*'--- SKIP'*) what=SKIP: ;; # a part of the test before
		'=== RUN'*) ended "$1" ;;
		esac
	done
	ended "$1"
}
export -f row results
export rows
exec 3>&1

# tested NAME PREFIX SECONDS PROGRAM...: run a test program with -test.v, and write a row for each test.
tested() {
	run "$1" "$3" bash -o pipefail -c '"${@:2}" -test.v 2>&1 | results "$1"' _ "$2" "${@:4}"
}

# Every test of a kernel at one shape of each kind, since racecheck is slow.
one_shape='^TestSample$/^97$/^alike$/^(0|8|11)$|^Test(EmbedAndNorm|Linear|GateUp|QKVAndAttention|AMPSums)$/^{9_131_/^BF16/./^1$'
one_shape+='|^TestLinearForwardBackward$/^{37_48_31_8}_(BF16|F32)_1$|^TestCrossEntropy$/^{3_37_8}_BF16_1$'
one_shape+='|^TestVision(LayerNorm|Linear|Attention)$/^\[(9_130_0|17_40_131|65_2_64)\]$/^BF16$'
one_shape+='|^TestAttentionSplits$/Dh:128}/^1$|^TestLogitReductions$/^{3_8_37}$/^BF16$/^1$|^TestTrain(Norm|SwiGLU|Rows|RoPE|Attention|AdamW)$/^{9_131_/^1$'

kernels() {
	run "a device is there" 60 ./bin/mop inspect --devices --device cuda || true
	grep -q '^cuda:0 .*capability' "$out/a_device_is_there.log" || row "cuda" FAIL "$(tail -1 "$out/a_device_is_there.log")"
	cd repo/runtime/device/cuda
	if [ -n "$quick" ]; then
		tested "tests, a few shapes" "" 60 "$tests" -test.short
	else
		# All tests run in one process, which compiles the kernels once. A test that failed
		# there, or that was not reached, is run again alone.
		tested "all tests of the device" "" 200 "$tests"
		for t in $("$tests" -test.list '^Test'); do
			grep -q "^$t	ok" "$rows" || run "$t alone" 60 "$tests" -test.v -test.run "^$t\$"
		done
		cd "$root/repo/prune"
		tested "prune against the CPU" "" 60 ./prune.test -test.run GPU
		cd finetune
		tested "recover against PyTorch" "" 60 ./finetune.test -test.run GPU
		cd "$root/repo/runtime/device/cuda"
	fi
	local sanitizer
	sanitizer=$(command -v compute-sanitizer || ls "$root"/sanitizer/compute-sanitizer /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
	for tool in memcheck racecheck; do
		[ -n "$quick" ] && [ $tool = racecheck ] && continue
		if [ -z "$sanitizer" ]; then
			row "$tool" "NOT RUN" "no compute-sanitizer in PATH, /usr/local/cuda/bin or ./sanitizer"
			continue
		fi
		local what='TestEmbedAndNorm|TestLinear|TestGateUp|TestQKVAndAttention|TestAMPSums|TestLogitReductions|TestSample|TestGraphDecode|TestTrain.*|TestVision.*'
		[ $tool = racecheck ] && what=$one_shape
		tested $tool "$tool " 60 "$sanitizer" --tool $tool --error-exitcode 9 --launch-timeout 0 "$tests" -test.short -test.run "$what"
	done
	cd "$root"
}

# model PRESET: the model that is measured.
model() { [ -n "$tiny" ] && echo repo/bench/demo/model || echo "preset:$1"; }

# alone SECONDS PATTERN: run the matching benchmarks of single kernels, in their folder.
alone() {
	local time=100x
	[ -n "$quick" ] && time=20x
	[ -n "$tiny" ] && time=1x
	run "kernels alone" $1 bash -c 'exec "$1" -test.run "^\$" $5 -test.bench "$3" -test.benchtime "$4" >"$2"' _ "$tests" "$out/kernels.txt" "$2" $time "${tiny:+-test.short}"
	grep -q '^Benchmark' "$out/kernels.txt" || row "kernels alone" FAIL "no benchmark ran"
}

# path NAME PRESET RULE STEPS EXTRA...: plan and measure one path.
path() {
	local name=$1 rule=$3 at=$4 preset
	preset=$(model $2)
	shift 4
	local plan=$out/$name.plan.json
	run "$name plan" 20 bash -c 'exec ./bin/mop plan --device cpu --model "$1" --sequence LGGLLLGGLLGLGLLGGL --rule "$2" --json "${@:4}" >"$3"' _ "$preset" "$rule" "$plan" "$@" || return
	local decode="--in 12 --out 128 --runs 10 --discard 4" prefill="--in 2048 --out 1 --runs 6 --discard 2"
	[ -n "$quick" ] && decode="--in 12 --out 32 --runs 3 --discard 1"
	[ -n "$tiny" ] && decode="--in 12 --out 3 --runs 2 --discard 1" prefill="--in 70 --out 1 --runs 2 --discard 1"
	run "$name decode" 150 bash -c 'exec ./bin/mop bench "$1" --plan "$2" --at "$3" --device cuda --format jsonl ${@:5} >"$4"' _ "$preset" "$plan" "$at" "$out/$name.decode.jsonl" $decode
	[ -n "$quick" ] || run "$name prefill" 100 bash -c 'exec ./bin/mop bench "$1" --plan "$2" --at "$3" --device cuda --format jsonl ${@:5} >"$4"' _ "$preset" "$plan" "$at" "$out/$name.prefill.jsonl" $prefill
}

# pictured NAME PRESET RULE STEPS: measure a model that sees with one picture, along a path.
pictured() {
	local name=$1 picture=repo/runtime/vision/testdata/pictures/exact.jpg plan=$out/$1.plan.json
	if [ -n "$tiny" ]; then
		run "$name image" 100 bash -c 'exec ./bin/mop bench repo/runtime/vision/testdata/models/dense --image "$1" --in 8 --out 3 --runs 2 --discard 1 --device cuda --format jsonl >"$2"' _ $picture "$out/$name.image.jsonl"
		return
	fi
	run "$name plan" 20 bash -c 'exec ./bin/mop plan --device cpu --model "preset:$1" --sequence LGGLLLGGLLGLGLLGGL --rule "$2" --json >"$3"' _ $2 $3 "$plan" || return
	run "$name image" 150 bash -c 'exec ./bin/mop bench "preset:$1" --plan "$2" --at "$3" --image "$4" --in 40 --out 64 --runs 10 --discard 4 --device cuda --format jsonl >"$5"' _ $2 "$plan" $4 $picture "$out/$name.image.jsonl"
}

speed() {
	run roofline 60 bash -c 'exec "$1" roofline.py $2 >"$3"' _ "$python" "${quick:+--quick} $tiny" "$out/roofline.jsonl"
	if [ -n "$quick" ]; then
		cd repo/runtime/device/cuda
		alone 140 '^BenchmarkDecode$/^sm_/llama-2-7b/^(o|down)$/^1$'
		cd "$root"
		path llama-2-7b-exact llama-2-7b paper 15
		return
	fi
	path llama-2-7b-exact llama-2-7b paper 7,11,15
	batches llama-2-7b 1 2 4 8 16 32 64
	batches llama-2-7b-int8 1 8 32
	path llama-3-8b-exact llama-3-8b mlp-only 8,12,17
	batches llama-3-8b 8 64
	long_context llama-2-7b 3968
}

# details: what speed leaves out.
details() {
	run roofline 60 bash -c 'exec "$1" roofline.py $2 >"$3"' _ "$python" "${quick:+--quick} $tiny" "$out/roofline.jsonl"
	cd repo/runtime/device/cuda
	alone 200 'Decode|Prefill|Attention|Train|TileChoice'
	cd "$root"
	pictured llava-1.5-7b llava-1.5-7b paper 7,11,15
	predicted tinyllama-1.1b
	path llama-2-7b-rounded llama-2-7b exact 7,11,15 --round-to 128
	path llama-3-8b-rounded llama-3-8b mlp-only 8,12,17 --round-to 128
}

# batches PRESET[-int8] SEQUENCES...: decode of several sequences together, of the dense model.
batches() {
	local name=$1 preset=${1%-int8} weights= shape="--in 12 --out 64 --runs 4 --discard 1" n
	[ "$name" = "$preset" ] || weights="--weights int8"
	[ -n "$tiny" ] && shape="--in 12 --out 3 --runs 2 --discard 1"
	shift
	for n in "$@"; do
		run "$name batch $n" 40 bash -c 'exec ./bin/mop bench "$1" --device cuda --format jsonl ${@:3} >"$2"' _ "$(model $preset)" "$out/$name-$n.batch.jsonl" --batch $n $shape $weights
	done
}

# long_context PRESET POSITIONS: decode of eight sequences after long prompts, with a KV cache of 16 bits
# and of 8.
long_context() {
	local shape="--in $2 --out 64 --batch 8 --runs 4 --discard 1" kind
	[ -n "$tiny" ] && shape="--in 70 --out 3 --batch 2 --runs 2 --discard 1"
	for kind in 16-bit int8; do
		run "$1 context $2 $kind" 90 bash -c 'exec ./bin/mop bench "$1" --device cuda --format jsonl ${@:3} >"$2"' _ "$(model $1)" "$out/$1-$kind-kv.long.jsonl" $shape $([ $kind = int8 ] && echo --kv-type int8)
	done
}

# predicted PRESET: sweep the sizes of a model, and verify the predictions from the table.
predicted() {
	local table=$out/$1.latency.json preset
	[ -n "$tiny" ] && return # a sweep runs too many passes for an emulated device
	preset=$(model $1)
	run "$1 sweep" 300 bash -c 'exec ./bin/mop sweep --model "$1" --what mlp,heads,context --device cuda --visits 5 --limit 4m --out "$2" --report "$2.report"' _ "$preset" "$table" || return
	run "$1 predictions" 200 bash -c 'exec ./bin/mop plan --model "$1" --criterion random --target 0.4 --latency "$2" --verify 20 --device cuda --json >"$2.verified"' _ "$preset" "$table"
}

# trained NAME PRESET PLAN STEP LENGTHS STEPS EXTRA...: measure training of one shape.
trained() {
	local name=$1
	shift
	[ -n "$tiny" ] && set -- "${@:1:3}" 9 1 --batch 2 "${@:6}"
	run "$name" 120 bash -c 'exec ./bin/mop bench training "$1" --plan "$2" --at "$3" --lengths "$4" --steps "$5" --device cuda --format jsonl "${@:7}" >>"$6"' _ "$(model $1)" "${@:2:4}" "$out/training.jsonl" "${@:6}"
}

training() {
	: >"$out/training.jsonl"
	local base rule plan
	for base in "llama-2-7b paper 15" "llama-3-8b mlp-only 17"; do
		set -- $base
		[ -n "$quick" ] && [ $1 = llama-3-8b ] && continue
		plan=$out/$1.plan.json
		run "$1 plan" 20 bash -c 'exec ./bin/mop plan --device cpu --model "$1" --sequence LGGLLLGGLLGLGLLGGL --rule "$2" --json >"$3"' _ $(model $1) $2 "$plan" || continue
		trained "$1 512" $1 "$plan" $3 512 $([ -n "$quick" ] && echo 1 || echo 2)
		trained "$1 alpaca" $1 "$plan" $3 alpaca $([ -n "$quick" ] && echo 2 || echo 8)
		[ -n "$quick" ] || trained "$1 one example a pass" $1 "$plan" $3 512 2 --pass-tokens 1
		[ -n "$quick" ] || trained "$1 recompute" $1 "$plan" $3 512 2 --recompute
	done
}

# traced NAME SECONDS ARGS...: mop bench with a trace; the table is kept if it is cut off.
traced() {
	local name=$1 most=$2
	shift 2
	run "$name" $most bash -c 'exec ./bin/mop bench "${@:2}" --device cuda --format jsonl --trace "$1.md" >"$1.jsonl"' _ "$out/$name" "$@"
}

trace() {
	local plan train="--lengths 512 --steps 1" short="--runs 2 --discard 1"
	local prompt="--in 2048 --out 1 $short" decode="--in 12 --out 32 $short"
	[ -n "$tiny" ] && train="--lengths 9 --steps 1 --batch 2" prompt="--in 70 --out 1 $short" decode="--in 12 --out 3 $short"
	# The clock and the power while the trace runs, from a program that ends with this one.
	if command -v nvidia-smi >/dev/null; then
		"${leash[@]}" timeout "$limit" nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv,noheader -lms 500 >"$out/clock.csv" 2>&1 &
	fi
	plan=$out/llama-2-7b.plan.json
	run "plan" 20 bash -c 'exec ./bin/mop plan --device cpu --model "$1" --sequence LGGLLLGGLLGLGLLGGL --rule paper --json >"$2"' _ "$(model llama-2-7b)" "$plan"
	local at=$([ -n "$tiny" ] && echo 1 || echo 15)
	traced training-512 40 training "$(model llama-2-7b)" --plan "$plan" --at $at $train
	traced training-1x512 30 training "$(model llama-2-7b)" --plan "$plan" --at $at $train --pass-tokens 1
	traced training-512-no-dropout 40 training "$(model llama-2-7b)" --plan "$plan" --at $at --dropout 0 $train
	traced prefill 60 "$(model llama-2-7b)" --plan "$plan" --at $([ -n "$tiny" ] && echo 1 || echo 7,11,15) $prompt
	traced decode-8 40 "$(model llama-3-8b)" --batch 8 $decode
	traced decode-1 30 "$(model llama-2-7b)" $decode
	traced decode-1-int8 30 "$(model llama-2-7b)" --weights int8 $decode
	traced decode-64 40 "$(model llama-2-7b)" --batch 64 $decode
	cd repo/runtime/device/cuda
	export MOP_TILE_PRICES=$out/tile_prices.json
	alone 60 "$([ -n "$tiny" ] && echo '^BenchmarkTiles$' || echo '^Benchmark(Tiles|TileChoice|Training)$')"
	cd "$root"
	cat "$out"/*.md >"$out/trace.md" 2>/dev/null
}

# peer NAME SECONDS SCRIPT FILE: rows of a script in FILE.jsonl. A shape that a peer refuses is a row too.
peer() {
	run "$1" "$2" bash -o pipefail -c '"$1" "$2" $3 | tee "$4"' _ "$python" "$3" "${quick:+--quick} $tiny" "$out/$4.jsonl"
	if grep -q '"error"' "$out/$4.jsonl"; then row "a shape of $1" FAIL "$(grep -m1 -o '"error": "[^"]*"' "$out/$4.jsonl")"; fi
}

peers() {
	[ -n "$quick" ] || peer peft 240 peers_training.py peft
	peer transformers 520 peers.py peers
}

# serving: random prompts of 128 tokens, 128 generated, to the server in the same process.
serving() {
	local base shape="--concurrency 1,8,16 --in 128 --out 128 --rounds 1" tokenizer
	[ -n "$tiny" ] && shape="--concurrency 1,2 --in 8 --out 3 --rounds 1 --requests 2"
	for base in "llama-2-7b data/tokenizer-llama2" "llama-3-8b data/tokenizer-llama3"; do
		set -- $base
		[ -n "$tiny" ] && set -- $1 repo/bench/demo/model
		run "$1 serving" 60 bash -c 'exec ./bin/mop bench serve "$1" --tokenizer "$2" --device cuda --format json ${@:4} >"$3"' _ "$(model $1)" "$2" "$out/$1.serving.json" $shape
	done
}

# quality scores every question of the five tasks. Random weights answer at random; what is
# measured is the time.
quality() {
	local questions=0 tokenizer=data/tokenizer-llama2 # of each task; 0 = all
	[ -n "$quick" ] && questions=40
	[ -n "$tiny" ] && questions=2 tokenizer=
	run "llama-2-7b five tasks" 590 bash -c 'exec ./bin/mop eval tasks --device cuda --model "$1" --tokenizer "$2" --tasks piqa,hellaswag,winogrande,arc_easy,arc_challenge --data data/zero-shot --limit "$3" --json >"$4"' _ "$(model llama-2-7b)" "$tokenizer" "$questions" "$out/tasks.json"
}

$part
table
if [ ! -s "$rows" ] || cut -f2 "$rows" | grep -qvx ok; then
	echo "$part: not every row is ok" >&2
	exit 1
fi
