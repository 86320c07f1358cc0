"""Makes scores.json: the scores wanda, flap, magnitude and taylor from transformers, for the models
and prompts of amp.py.

    python scores.py

The inputs of o_proj and down_proj are taken by hooks in a float32 forward pass; everything
after them is float64, over all positions of all prompts:

    wanda      rms(m_j) ||Wdown[:,j]||          heads: the sum over the head's columns of Wo
    flap       var(m_j) ||Wdown[:,j]||^2        heads: the sum over the head's columns of Wo
    magnitude  norm of Wgate[j], Wup[j] and Wdown[:,j] together; of a head's Wq and Wo
    taylor     sum of |w w'| over Wgate[j], Wup[j] and Wdown[:,j]; over a head's Wq and Wo and
               its part of Wk and Wv. w' is autograd's, of the mean loss of all predicted tokens
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../../../runtime/model/testdata"


def inputs(model, prompts):
    """The inputs of o_proj and down_proj by layer, [all positions, columns]."""
    seen = {}
    hooks = []
    for l, layer in enumerate(model.model.layers):
        for name, module in (("heads", layer.self_attn.o_proj), ("neurons", layer.mlp.down_proj)):
            hooks.append(module.register_forward_pre_hook(lambda _, args, key=(name, l): seen.setdefault(key, []).append(args[0][0].double())))
    with torch.no_grad():
        for ids in prompts:
            model(torch.tensor([ids]))
    for h in hooks:
        h.remove()
    return {key: torch.cat(parts) for key, parts in seen.items()}


def scores(model, prompts):
    H, Dh = model.config.num_attention_heads, model.config.head_dim
    x = inputs(model, prompts)
    out = {name: {"heads": [], "neurons": []} for name in ("wanda", "flap", "magnitude")}
    with torch.no_grad():
        for l, layer in enumerate(model.model.layers):
            for kind, w in (("heads", layer.self_attn.o_proj.weight), ("neurons", layer.mlp.down_proj.weight)):
                a, norm = x[kind, l], w.double().norm(dim=0)
                wanda = a.pow(2).mean(0).sqrt() * norm
                flap = a.var(0, unbiased=False) * norm.pow(2)
                for name, s in (("wanda", wanda), ("flap", flap)):
                    out[name][kind].append((s.view(H, Dh).sum(1) if kind == "heads" else s).tolist())
            q, o = layer.self_attn.q_proj.weight.double(), layer.self_attn.o_proj.weight.double()
            out["magnitude"]["heads"].append([float((q[h * Dh:(h + 1) * Dh].pow(2).sum() + o[:, h * Dh:(h + 1) * Dh].pow(2).sum()).sqrt()) for h in range(H)])
            g, u, d = (getattr(layer.mlp, n).weight.double() for n in ("gate_proj", "up_proj", "down_proj"))
            out["magnitude"]["neurons"].append((g.pow(2).sum(1) + u.pow(2).sum(1) + d.pow(2).sum(0)).sqrt().tolist())
    return out


def taylor(model, prompts):
    c = model.config
    H, K, Dh = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    model.zero_grad()
    n = sum(len(ids) - 1 for ids in prompts)
    for ids in prompts:
        if len(ids) > 1:
            logits = model(torch.tensor([ids])).logits[0]
            (torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum") / n).backward()
    out = {"heads": [], "neurons": []}
    for layer in model.model.layers:
        q, k, v, o, g, u, d = ((m.weight.double() * m.weight.grad.double()).abs().detach() for m in (
            layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, layer.self_attn.o_proj,
            layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj))
        own = q.sum(1).view(H, Dh).sum(1) + o.sum(0).view(H, Dh).sum(1)
        shared = (k.sum(1) + v.sum(1)).view(K, Dh).sum(1) / (H // K)
        out["heads"].append((own + shared.repeat_interleave(H // K)).tolist())
        out["neurons"].append((g.sum(1) + u.sum(1) + d.sum(0)).tolist())
    return out


def main():
    prompts = [[1] + [(37 * i + 5) % 97 for i in range(n)] for n in (0, 6, 40)]
    cases = []
    for name in ("mha-f32", "gqa-bf16", "tied-f16"):
        model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32, attn_implementation="eager")
        cases.append({"model": name, "prompts": prompts, "scores": {**scores(model, prompts), "taylor": taylor(model, prompts)}})
    json.dump({"made_by": f"scores.py, transformers {transformers.__version__}, torch {torch.__version__}", "cases": cases}, open(HERE / "scores.json", "w"))


main()
