"""Makes criteria.json: the path criteria between two golden models of
runtime/model/testdata, from the logits of transformers.

    python criteria.py

Logits and last hidden states are float32, all sums after them float64. Every
position of every window counts once; the perplexity is over next ids.
"""

import json
import math
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../../../runtime/model/testdata"


def main():
    load = lambda: AutoModelForCausalLM.from_pretrained(MODELS / "mha-f32", dtype=torch.float32, attn_implementation="eager")
    reference, model = load(), load()
    # The model is the reference without its first layer.
    model.model.layers = torch.nn.ModuleList(list(model.model.layers)[1:])
    model.config.num_hidden_layers = 2
    for i, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = i
    windows = [[1] + [(37 * i + 5 + n) % 97 for i in range(n)] for n in (1, 9, 40)]
    kl = cosine = hidden = nll = positions = targets = 0.0
    for ids in windows:
        with torch.no_grad():
            p, q = (m(torch.tensor([ids]), output_hidden_states=True, use_cache=False) for m in (reference, model))
        hidden += torch.cosine_similarity(p.hidden_states[-1][0].double(), q.hidden_states[-1][0].double()).sum().item()
        p, q = p.logits[0].double(), q.logits[0].double()
        cosine += torch.cosine_similarity(p, q).sum().item()
        lp, lq = p.log_softmax(-1), q.log_softmax(-1)
        kl += (lp.exp() * (lp - lq)).sum().item()
        nll -= sum(lq[t, ids[t + 1]].item() for t in range(len(ids) - 1))
        positions, targets = positions + len(ids), targets + len(ids) - 1
    json.dump({"made_by": f"criteria.py, transformers {transformers.__version__}, torch {torch.__version__}", "model": "mha-f32", "without_layer": 0,
               "windows": windows, "kl": kl / positions, "cosine": cosine / positions, "cosine-hidden": hidden / positions,
               "ppl": math.exp(nll / targets)}, open(HERE / "criteria.json", "w"), indent=1)


main()
