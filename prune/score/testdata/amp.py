"""Makes amp.json: AMP scores from transformers, for three of the golden models of
runtime/model/testdata, over prompts of unlike length.

    python amp.py

The inputs of o_proj and down_proj are taken by hooks in a float32 forward pass;
everything after them is float64, written as the paper has it (arXiv 2504.21174):

    S_h = 1/T sum_t || x[t,h,:] Wo[:,h]^T ||_1      S_j = 1/T sum_t | m[t,j] |

and the mean over prompts.
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../../../runtime/model/testdata"


def scores(model, prompts):
    c = model.config
    H, Dh = c.num_attention_heads, c.head_dim
    seen = {}
    for l, layer in enumerate(model.model.layers):
        for name, module in (("heads", layer.self_attn.o_proj), ("mlp", layer.mlp.down_proj)):
            module.register_forward_pre_hook(lambda _, args, key=(name, l): seen.__setitem__(key, args[0][0].double()))
    out = {"heads": [torch.zeros(H, dtype=torch.float64) for _ in model.model.layers],
           "mlp": [torch.zeros(c.intermediate_size, dtype=torch.float64) for _ in model.model.layers]}
    for ids in prompts:
        with torch.no_grad():
            model(torch.tensor([ids]))
        for l, layer in enumerate(model.model.layers):
            x, wo = seen["heads", l].view(len(ids), H, Dh), layer.self_attn.o_proj.weight.double()
            for h in range(H):
                out["heads"][l][h] += (x[:, h] @ wo[:, h * Dh:(h + 1) * Dh].T).abs().sum() / len(ids) / len(prompts)
            out["mlp"][l] += seen["mlp", l].abs().sum(0) / len(ids) / len(prompts)
    return {k: [v.tolist() for v in lists] for k, lists in out.items()}


def main():
    prompts = [[1] + [(37 * i + 5) % 97 for i in range(n)] for n in (0, 6, 40)]
    cases = []
    for name in ("mha-f32", "gqa-bf16", "tied-f16"):
        model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32, attn_implementation="eager")
        cases.append({"model": name, "prompts": prompts, **scores(model, prompts)})
    json.dump({"made_by": f"amp.py, transformers {transformers.__version__}, torch {torch.__version__}", "cases": cases}, open(HERE / "amp.json", "w"))


main()
