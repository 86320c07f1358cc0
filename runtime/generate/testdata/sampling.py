"""Distributions by transformers' logits processors: the golden file of
../sampler_test.go.

    python -m venv v && v/bin/pip install torch transformers
    v/bin/python sampling.py > sampling.json
"""
import itertools
import json

import torch
import transformers
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

V = 24
torch.manual_seed(1)
cases = []
settings = itertools.product((0.0, 0.7, 1.0, 2.5), (0, 1, 5), (1.0, 0.9, 0.3), (0.0, 0.1), (1.0, 1.3, 0.8))
for n, (temperature, k, p, min_p, penalty) in enumerate(settings):
    if n % 3 == 1:
        continue  # enough of each
    logits = torch.randn(1, V) * 3
    seen = torch.randint(0, V, (1, 6))
    z = logits.clone()
    if penalty != 1:
        z = RepetitionPenaltyLogitsProcessor(penalty)(seen, z)
    if temperature == 0:
        probabilities = torch.zeros(V)
        probabilities[z[0].argmax()] = 1
    else:
        z = TemperatureLogitsWarper(temperature)(seen, z)
        if k:
            z = TopKLogitsWarper(k)(seen, z)
        if p < 1:
            z = TopPLogitsWarper(p)(seen, z)
        if min_p:
            z = MinPLogitsWarper(min_p)(seen, z)
        probabilities = torch.softmax(z[0].double(), 0)
    cases.append(
        {"temperature": temperature, "top_k": k, "top_p": p, "min_p": min_p, "penalty": penalty, "logits": logits[0].tolist(),
         "seen": seen[0].tolist(), "probabilities": [round(x, 9) for x in probabilities.tolist()]}
    )
made_by = f"sampling.py, transformers {transformers.__version__}, torch {torch.__version__}"
print(json.dumps({"made_by": made_by, "cases": cases}, indent=None, separators=(",", ":")).replace('{"temperature"', '\n{"temperature"'))
