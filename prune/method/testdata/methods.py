"""Makes methods.json: what the methods measure and keep, computed with transformers and
PyTorch, for the demo's trained model and for golden models of runtime/model/testdata.

    python methods.py    # about a minute

influence   ShortGPT: 1 - the mean cosine of the input and the output of each layer
sleb        the perplexities without each layer, and the greedy order of removal
flap        which heads and neurons a share of the parameters of the layers leaves, by one
            sort of the standardised numbers of all layers

Forward passes are float32, everything after them is float64. One thread: the matrices are
so small that several threads wait for each other, up to thirty times as long on busy cores.
"""

import json
import math
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).parent
ROOT = HERE / "../../.."
torch.set_num_threads(1)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(ROOT / folder, dtype=torch.float32, attn_implementation="eager")


def influence(model, prompts):
    cosines = [[] for _ in model.model.layers]
    hooks = []
    for l, layer in enumerate(model.model.layers):
        def hook(_, args, out, l=l):
            y = out[0] if isinstance(out, tuple) else out
            a, b = args[0].reshape(-1, args[0].shape[-1]).double(), y.reshape(-1, y.shape[-1]).double()
            cosines[l].append((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)))
        hooks.append(layer.register_forward_hook(hook))
    with torch.no_grad():
        for ids in prompts:
            model(torch.tensor([ids]), use_cache=False)
    for h in hooks:
        h.remove()
    return [float(1 - torch.cat(c).mean()) for c in cosines]


def perplexity(model, prompts):
    nll, n = 0.0, 0
    with torch.no_grad():
        for ids in prompts:
            logits = model(torch.tensor([ids]), use_cache=False).logits[0].double()
            p = torch.log_softmax(logits[:-1], dim=1)
            nll -= float(p[range(len(ids) - 1), ids[1:]].sum())
            n += len(ids) - 1
    return math.exp(nll / n)


def sleb(model, prompts, steps):
    alive = list(range(len(model.model.layers)))
    every, path = list(model.model.layers), []
    for _ in range(steps):
        candidates = []
        for out in alive[1:-1]:
            model.model.layers = torch.nn.ModuleList(every[l] for l in alive if l != out)
            model.config.num_hidden_layers = len(alive) - 1
            candidates.append(perplexity(model, prompts))
        best = min(range(len(candidates)), key=candidates.__getitem__) + 1
        path.append({"perplexities": candidates, "layer": best, "from": alive[best]})
        del alive[best]
    return path


def flap(model, prompts, share):
    c = model.config
    H, K, Dh, I, D, L = c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size, c.hidden_size, c.num_hidden_layers
    seen, hooks = {}, []
    for l, layer in enumerate(model.model.layers):
        for name, module in (("attn", layer.self_attn.o_proj), ("mlp", layer.mlp.down_proj)):
            hooks.append(module.register_forward_pre_hook(lambda _, args, key=(name, l): seen.setdefault(key, []).append(args[0][0].double())))
    with torch.no_grad():
        for ids in prompts:
            model(torch.tensor([ids]), use_cache=False)
    for h in hooks:
        h.remove()

    def metric(name, l, w):
        return torch.cat(seen[name, l]).var(0, unbiased=False) * w.double().pow(2).sum(0)

    def standard(x):
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)

    with torch.no_grad():
        attn = torch.stack([metric("attn", l, y.self_attn.o_proj.weight) ** 2 for l, y in enumerate(model.model.layers)])
        mlp = standard(torch.stack([metric("mlp", l, y.mlp.down_proj.weight) for l, y in enumerate(model.model.layers)]))
        heads = standard(attn).reshape(L, H, Dh).mean(2)
    groups = heads.reshape(L, K, H // K).mean(2)
    # One descending sort; the best of each layer and kind stays whatever its number.
    costs = torch.cat([torch.full((L * K,), (2 * H // K + 2) * Dh * D), torch.full((L * I,), 3 * D)])
    order = torch.argsort(torch.cat([groups.reshape(-1), mlp.reshape(-1)])).tolist()
    best = {l * K + int(groups[l].argmax()) for l in range(L)} | {L * K + l * I + int(mlp[l].argmax()) for l in range(L)}
    budget, gone = share * float(costs.sum()), set()
    for i in order:
        if i in best or budget <= 0 or (i < L * K and costs[i] > budget):
            continue
        gone.add(i)
        budget -= float(costs[i])
    return {"share": share, "heads": heads.tolist(), "neurons": mlp.tolist(),
            "kept_kv_heads": [[k for k in range(K) if l * K + k not in gone] for l in range(L)],
            "kept_neurons": [[j for j in range(I) if L * K + l * I + j not in gone] for l in range(L)]}


def main():
    demo = load("bench/demo/model")
    text = (ROOT / "bench/demo/text/evaluation.txt").read_text()[:1000]
    ids = AutoTokenizer.from_pretrained(ROOT / "bench/demo/model")(text, add_special_tokens=False).input_ids
    prompts = [[1] + ids[a:b] for a, b in ((0, 5), (5, 45), (45, 75))]
    out = {"made_by": f"methods.py, transformers {transformers.__version__}, torch {torch.__version__}", "prompts": prompts,
           "influence": influence(demo, prompts), "sleb": sleb(demo, prompts, 3), "flap": []}
    for name in ("mha-f32", "gqa-bf16", "tied-f16"):
        text = [[1] + [(37 * i + 5) % 97 for i in range(n)] for n in (6, 40)]
        for share in (0.1, 0.35):
            out["flap"].append({"model": name, "prompts": text, **flap(load("runtime/model/testdata/" + name), text, share)})
    json.dump(out, open(HERE / "methods.json", "w"))


main()
