#!/usr/bin/env bash
# Make the figures about searched shapes of SmolLM2-135M, stage by stage. Every stage
# continues where it was stopped.
#
#   bench/search/smollm2.sh STAGE MODEL DATA OUT
#
# MODEL is the imported model, DATA the folder with alpaca, calibration-text and
# wikitext-2-raw-v1, OUT a folder for everything. MOP names the program, ./bin/mop unless it
# is set. Stages:
#
#   sweep     the latency table                              (an idle machine)
#   verify    20 plans against their predictions             (an idle machine)
#   size      the paper's width branch and the search at 20 % fewer parameters
#   latency   at TARGETS of the dense latency (default 0.8,0.7,0.6), as the table predicts it: the
#             search of seed SEED (default 1), one width for all layers with the same score, text
#             and refit, and MoP's path with the paper's score and prompts
#   recovery  the same short training of all models in OUT, each to a directory beside it
#   quality   perplexity of all models in OUT
#   front     one report: perplexity and KL divergence against measured latency of the models of
#             stage latency, as they are and after STEPS (default 40) steps of training; the seeds
#             of a search are one point with error bars. SEEDS (default 3) trainings of each of the
#             other models                                   (an idle machine)
set -euo pipefail
stage=${1:?a stage} model=${2:?the model} data=${3:?the data} out=${4:?a folder}
mop=${MOP:-./bin/mop} targets=${TARGETS:-0.8,0.7,0.6} seed=${SEED:-1}
c4=$data/calibration-text/c4_demo.jsonl alpaca=$data/alpaca/alpaca_en_demo.json
test=$data/wikitext-2-raw-v1/wiki.test.raw table=$out/table.json
mkdir -p "$out"

resume() { # prints --resume where a run was started
    if [ -e "$1" ]; then echo --resume; fi
}

case $stage in
sweep)
    $mop sweep --model "$model" --what heads,context,mlp,layers --visits 6 --out "$table" --report "$out/sweep"
    ;;
verify)
    for workload in "12 128" "512 16"; do
        read -r in tokens <<<"$workload"
        $mop plan --model "$model" --criterion random --target 0.4 --latency "$table" --in "$in" --out-tokens "$tokens" --verify 20 --json >"$out/verify-$in-$tokens.json"
    done
    ;;
size)
    $mop prune --model "$model" --out "$out/paper" --targets 0.2 --exact-target --sequence G \
        --calibration "$alpaca" --prompts 128 $(resume "$out/paper")
    $mop search --model "$model" --out "$out/size" --target-bytes 0.8 --seed "$seed" --refit --neuron-score wanda \
        --calibration "$c4" --prompts 128 --text "$c4" --generations 3 $(resume "$out/size")
    ;;
latency)
    $mop search --model "$model" --out "$out/searched" --latency "$table" --measure=false --target-latency "$targets" --seed "$seed" \
        --refit --neuron-score wanda --calibration "$c4" --prompts 128 --text "$c4" --generations 3 $(resume "$out/searched")
    $mop prune --model "$model" --out "$out/width" --method wanda-sp --latency "$table" --measure=false --target-latency "$targets" --refit \
        --calibration "$c4" --prompts 128 $(resume "$out/width")
    $mop prune --model "$model" --out "$out/mop" --latency "$table" --measure=false --target-latency "$targets" \
        --calibration "$alpaca" --prompts 64 --text "$c4" --windows 4 --context 128 $(resume "$out/mop")
    ;;
recovery)
    for plan in "$out"/*/*/plan.json; do
        dir=$(dirname "$plan")
        case $dir in *-recovered) continue ;; esac
        $mop recover --model "$dir" --data "$alpaca" --out "$dir-recovered" --steps 40 --batch 4 --max-length 128 \
            --lr 1e-3 --rank 16 --alpha 32 $(resume "$dir-recovered")
    done
    ;;
quality)
    for plan in "$out"/*/*/plan.json; do
        dir=$(dirname "$plan")
        echo "$dir"
        $mop eval ppl --model "$dir" --text "$test" --context 512 --max-tokens-per-document 9484
    done
    ;;
front)
    $mop compare --model "$model" --out "$out/front" --seeds "${SEEDS:-3}" \
        --dirs "search=$out/searched/0.??-seed?,mop=$out/mop/0.??,one width=$out/width/0.??" \
        --ppl-text "$test" --ppl-context 512 --ppl-windows 12 --kl --recover "$alpaca" --recover-steps "${STEPS:-40}" --recover-batch 4 \
        --recover-max-length 128 --recover-lr 1e-3 --recover-rank 16 --recover-alpha 32 --turns steps --runs 12 --discard 2 --group 20
    ;;
*)
    echo "no such stage: $stage" >&2
    exit 2
    ;;
esac
