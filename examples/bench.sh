#!/usr/bin/env bash
# Compare the end-to-end latency of a dense model and of pruned shapes of it. The weights
# are random: time depends on shapes, not on values.
set -euo pipefail
mop=${MOP:-./bin/mop}
out=${OUT:-$(mktemp -d)}

"$mop" plan --model preset:smollm2-135m --sequence LGGLLLGG --rule mlp-only --json >"$out/plan.json"
"$mop" bench preset:smollm2-135m --plan "$out/plan.json" --at 4,8 --out 16 --runs 4 --discard 1 --report "$out/report"
ls "$out/report"
