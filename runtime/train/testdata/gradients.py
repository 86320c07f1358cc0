"""Makes the golden gradients of the directory gradients: small random LLaMA
checkpoints and what PyTorch's autograd says of them, through transformers and peft.

    python gradients.py

remakes every case, from torch, transformers, peft and safetensors alone (their
versions are written into each gradients.json). A case is a directory of

    config.json, model.safetensors   the checkpoint that mop reads
    gradients.json                   sequences (ids, labels, scale), losses, versions
    gradients.safetensors            F32: the gradient of every tensor under its own
                                     name; for plain models also adapters of rank 3,
                                     scale 5/3, on all seven projections under PEFT's
                                     names, and their gradients under "grad."+name,
                                     taken with the adapters in place

The loss is sum over sequences of scale * sum over labels of -log p(label), in
float32, from the stored weights widened. Models whose layers differ are the dense
model with zeroed heads and neurons; their gradients are sliced as the weights are.
"""

import json
import pathlib
import platform
import shutil
import sys

import peft
import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "runtime/model/testdata"))
from golden import config, make_ids, randomise, stored, text_of  # noqa: E402

HERE = pathlib.Path(__file__).parent / "gradients"
SMALL = dict(hidden_size=24, head_dim=8, intermediate_size=13, num_hidden_layers=2, vocab_size=31)
PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def sequences(seed, vocab, lengths):
    out = []
    for i, n in enumerate(lengths):
        ids = make_ids(seed + 10 * i, n, vocab)
        labels = ids[1:] + [-1]
        for j in range(n // 3):
            labels[j] = -1
        out.append({"tokens": ids, "labels": labels, "scale": [0.25, 0.5, 2.0][i % 3]})
    return out


def loss(model, batch):
    total, each = 0, []
    for q in batch:
        z = model(torch.tensor([q["tokens"]]), use_cache=False).logits[0].float()
        y = torch.tensor(q["labels"])
        s = F.cross_entropy(z, y, ignore_index=-1, reduction="sum")
        each.append(s.item())
        total = total + q["scale"] * s
    return total, each


def widened(model, state):
    wide = {k: v.float() for k, v in state.items()}
    if model.config.tie_word_embeddings:
        wide["lm_head.weight"] = wide["model.embed_tokens.weight"]
    model.load_state_dict(wide)
    if model.config.tie_word_embeddings:
        model.tie_weights()
    return model.float().train()


def write(name, about, text, state, batch, losses, tensors, extra):
    d = HERE / name
    shutil.rmtree(d, ignore_errors=True)
    d.mkdir(parents=True)
    (d / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    save_file(state, d / "model.safetensors", {"format": "pt"})
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, d / "gradients.safetensors")
    (d / "gradients.json").write_text(json.dumps({
        "about": about, "command": "python gradients.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
                     "peft": peft.__version__, "safetensors": safetensors.__version__},
        "sequences": batch, "losses": losses, **extra}) + "\n")
    print(f"{name:16} {sum(f.stat().st_size for f in d.iterdir()):7} bytes, losses {losses}")


def plain(name, about, seed, dtype, lengths, c):
    model = LlamaForCausalLM(c)
    randomise(model, seed)
    state = stored(model, dtype)
    batch = sequences(seed, c.vocab_size, lengths)
    widened(model, state)
    total, losses = loss(model, batch)
    total.backward()
    tensors = {k: p.grad for k, p in model.named_parameters()}
    model = widened(LlamaForCausalLM(c), state)
    model = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, target_modules=PARTS, task_type="CAUSAL_LM"))
    g = torch.Generator().manual_seed(seed)
    adapters = [(k, p) for k, p in model.named_parameters() if p.requires_grad]
    with torch.no_grad():
        for _, p in adapters:
            p.copy_(0.2 * torch.randn(p.shape, generator=g))
    total, adapted = loss(model, batch)
    total.backward()
    for k, p in adapters:
        k = k.replace(".default", "")
        tensors[k], tensors["grad." + k] = p, p.grad
    write(name, about, text_of(c, dtype), state, batch, losses, tensors, {"adapted_losses": adapted, "rank": 3, "alpha": 5})


def different(name, about, seed, lengths, c, keep):
    model = LlamaForCausalLM(c)
    randomise(model, seed)
    state = stored(model, "float32")
    h, k, dh = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    index, per_layer = {}, {}  # name -> (axis, kept), None = gone
    for layer, (groups, neurons) in enumerate(keep):
        p, over, skip = f"model.layers.{layer}.", {}, []
        heads = [g * (h // k) + i for g in groups or [] for i in range(h // k)]
        rows = torch.tensor([x * dh + i for x in heads for i in range(dh)], dtype=torch.long)
        kv = torch.tensor([g * dh + i for g in groups or [] for i in range(dh)], dtype=torch.long)
        n = torch.tensor(neurons or [], dtype=torch.long)
        attn, mlp = p + "self_attn.", p + "mlp."
        index.update({attn + "q_proj.weight": (0, rows), attn + "k_proj.weight": (0, kv), attn + "v_proj.weight": (0, kv), attn + "o_proj.weight": (1, rows),
                      mlp + "gate_proj.weight": (0, n), mlp + "up_proj.weight": (0, n), mlp + "down_proj.weight": (1, n)})
        if groups is None:
            skip.append("attention")
            for gone in [p + "input_layernorm.weight"] + [attn + x + ".weight" for x in PARTS[:4]]:
                index[gone] = None
        elif len(groups) < k:
            over.update(num_attention_heads=len(heads), num_key_value_heads=len(groups))
        if neurons is None:
            skip.append("mlp")
            for gone in [p + "post_attention_layernorm.weight"] + [mlp + x + ".weight" for x in PARTS[4:]]:
                index[gone] = None
        elif len(neurons) < c.intermediate_size:
            over["intermediate_size"] = len(neurons)
        if skip:
            over["skip"] = skip
        if over:
            per_layer[str(layer)] = over
        for part, at in ((attn + "o_proj.weight", rows), (mlp + "down_proj.weight", n)):
            z = torch.zeros_like(state[part])
            z[:, at] = state[part][:, at]
            state[part] = z

    def cut(tensors):
        out = {}
        for name, t in tensors.items():
            if name not in index:
                out[name] = t
            elif index[name] is not None:
                axis, at = index[name]
                out[name] = t.index_select(axis, at).contiguous()
        return out

    batch = sequences(seed, c.vocab_size, lengths)
    widened(model, state)
    total, losses = loss(model, batch)
    total.backward()
    text = {**text_of(c, "float32"), "architectures": ["MopLlamaForCausalLM"], "model_type": "mop_llama", "per_layer_config": per_layer}
    write(name, about, text, cut(state), batch, losses, cut({k: p.grad for k, p in model.named_parameters()}), {})


def main():
    torch.set_num_threads(1)
    plain("mha-f32", "as many KV heads as heads", 1, "float32", [9, 14], config(3, **SMALL))
    plain("gqa-tied-bf16", "three heads a KV head, the head is the embedding table", 2, "bfloat16", [12, 5, 7],
          config(6, num_key_value_heads=2, tie_word_embeddings=True, **{**SMALL, "head_dim": 4}))
    plain("pruned-f16", "5 heads of 8 in a width of 24", 3, "float16", [17], config(5, **SMALL))
    every = list(range(13))
    different("different-f32", "no two layers alike, blocks and a whole layer skipped", 4, [11, 8],
              config(6, num_key_value_heads=3, **{**SMALL, "num_hidden_layers": 5, "head_dim": 4}),
              [(None, every), ([0, 2], every[::2]), ([1], None), (None, None), ([0, 1, 2], [4])])


if __name__ == "__main__":
    main()
