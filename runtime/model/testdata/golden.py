"""Makes the golden models of this directory: small random LLaMA checkpoints and
the logits that transformers computes from them in float32.

    python golden.py

remakes every case beside itself, from torch, transformers and safetensors alone
(their versions are written into each golden.json). A case is a directory of

    config.json, model.safetensors   the checkpoint that mop reads
    golden.json                      what it is, ids [T], versions
    golden.safetensors               logits [T, V], F32

The weights are rounded to the case's type first; the logits come from those
rounded weights, widened to float32, with eager attention.

transformers builds no model whose layers differ. For those cases the checkpoint
holds the sliced tensors and mop's per_layer_config, and the logits are those of
the dense model with the columns of o_proj that dropped heads feed, and the
columns of down_proj that dropped neurons feed, set to zero: the same function.
"""

import json
import pathlib
import platform
import shutil

import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def config(heads, **kw):
    base = dict(
        vocab_size=97, hidden_size=48, num_hidden_layers=3, num_attention_heads=1, num_key_value_heads=heads,
        head_dim=16, intermediate_size=37, max_position_embeddings=128, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, attn_implementation="eager",
    )
    c = LlamaConfig(**{**base, **kw})
    # Set afterwards: the constructor of transformers 5 refuses a hidden_size that
    # is no multiple of the heads, though the model itself allows it.
    c.num_attention_heads = heads
    return c


def randomise(model, seed):
    """Weights far from their initial values, so that every tensor matters."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            r = torch.randn(p.shape, generator=g)
            if name.endswith("norm.weight"):
                p.copy_(1 + 0.3 * r)
            elif "embed" in name:
                p.copy_(0.5 * r)
            else:
                p.copy_(0.18 * r)


def stored(model, dtype):
    """The state as it is written: contiguous, in dtype, a tied head left out."""
    state = {k: v.detach().to(TYPES[dtype]).contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    return state


def logits(model, state, ids):
    wide = {k: v.float() for k, v in state.items()}
    if model.config.tie_word_embeddings:
        wide["lm_head.weight"] = wide["model.embed_tokens.weight"]
    model.load_state_dict(wide)
    model.float().eval()
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()


def write(name, about, text, state, dtype, ids, out):
    d = HERE / name
    shutil.rmtree(d, ignore_errors=True)
    d.mkdir()
    (d / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    save_file(state, d / "model.safetensors", {"format": "pt"})
    save_file({"logits": out}, d / "golden.safetensors")
    (d / "golden.json").write_text(json.dumps({
        "about": about, "command": "python golden.py", "dtype": dtype,
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "safetensors": safetensors.__version__},
        "max_abs_logit": out.abs().max().item(), "ids": ids,
    }, indent=1) + "\n")
    assert torch.isfinite(out).all() and out.abs().max() > 1
    size = sum(f.stat().st_size for f in d.iterdir())
    print(f"{name:20} {size:8} bytes, T {len(ids)}, |logit| up to {out.abs().max():.2f}")


def make_ids(seed, t, vocab):
    return torch.randint(0, vocab, (t,), generator=torch.Generator().manual_seed(seed)).tolist()


def text_of(c, dtype):
    """config.json as transformers writes it."""
    d = c.to_diff_dict()
    d.pop("_attn_implementation", None)
    return {**d, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": dtype, "head_dim": c.head_dim}


def uniform(name, about, seed, t, dtype, c):
    model = LlamaForCausalLM(c)
    randomise(model, seed)
    state = stored(model, dtype)
    ids = make_ids(seed + 1000, t, c.vocab_size)
    out = logits(model, state, ids)
    if c.rope_parameters["rope_type"] != "default":  # the scaling must show
        plain = config(c.num_attention_heads, **{k: getattr(c, k) for k in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_key_value_heads", "head_dim", "intermediate_size")})
        gap = (out - logits(LlamaForCausalLM(plain), state, ids)).abs().amax(1)
        assert gap[-1] > 0.1, gap
    write(name, about, text_of(c, dtype), state, dtype, ids, out)


def different(name, about, seed, t, dtype, c, keep):
    """keep: for each layer the kept KV groups and neurons, None = block skipped."""
    model = LlamaForCausalLM(c)
    randomise(model, seed)
    state = stored(model, dtype)
    ids = make_ids(seed + 1000, t, c.vocab_size)
    dense = logits(LlamaForCausalLM(c), state, ids)

    h, k, dh = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    zeroed, cut, per_layer = dict(state), dict(state), {}
    for layer, (groups, neurons) in enumerate(keep):
        p = f"model.layers.{layer}."
        over, skip = {}, []
        gs = groups or []
        heads = [g * (h // k) + i for g in gs for i in range(h // k)]
        rows = torch.tensor([x * dh + i for x in heads for i in range(dh)], dtype=torch.long)
        kv = torch.tensor([g * dh + i for g in gs for i in range(dh)], dtype=torch.long)
        o = torch.zeros_like(state[p + "self_attn.o_proj.weight"])
        o[:, rows] = state[p + "self_attn.o_proj.weight"][:, rows]
        zeroed[p + "self_attn.o_proj.weight"] = o
        if groups is None:
            skip.append("attention")
            for part in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
                del cut[p + part + ".weight"]
        else:
            for part, index in (("q", rows), ("k", kv), ("v", kv)):
                key = p + f"self_attn.{part}_proj.weight"
                cut[key] = state[key][index].contiguous()
            cut[p + "self_attn.o_proj.weight"] = o[:, rows].contiguous()
            if len(heads) != h:
                over["num_attention_heads"] = len(heads)
            if len(gs) != k:
                over["num_key_value_heads"] = len(gs)
        down = torch.zeros_like(state[p + "mlp.down_proj.weight"])
        n = torch.tensor(neurons or [], dtype=torch.long)
        down[:, n] = state[p + "mlp.down_proj.weight"][:, n]
        zeroed[p + "mlp.down_proj.weight"] = down
        if neurons is None:
            skip.append("mlp")
            for part in ("post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
                del cut[p + part + ".weight"]
        else:
            for part in ("gate", "up"):
                key = p + f"mlp.{part}_proj.weight"
                cut[key] = state[key][n].contiguous()
            cut[p + "mlp.down_proj.weight"] = down[:, n].contiguous()
            if len(n) != c.intermediate_size:
                over["intermediate_size"] = len(n)
        if skip:
            over["skip"] = skip
        if over:
            per_layer[str(layer)] = over
    out = logits(LlamaForCausalLM(c), zeroed, ids)
    assert (out - dense).abs().max() > 0.5  # the zeroing must show
    text = {**text_of(c, dtype), "architectures": ["MopLlamaForCausalLM"], "model_type": "mop_llama", "per_layer_config": per_layer}
    write(name, about, text, cut, dtype, ids, out)


def main():
    torch.set_num_threads(1)
    uniform("mha-f32", "as many KV heads as heads, odd MLP width", 1, 16, "float32", config(3))
    uniform("gqa-bf16", "three heads a KV head", 2, 24, "bfloat16",
            config(6, num_key_value_heads=2, head_dim=8, intermediate_size=64, vocab_size=101))
    uniform("tied-f16", "the head is the embedding table", 3, 16, "float16",
            config(4, head_dim=12, vocab_size=257, tie_word_embeddings=True))
    uniform("rope-llama3-bf16", "llama3 rope scaling, past the original positions", 4, 80, "bfloat16",
            config(3, num_key_value_heads=1, rope_parameters={
                "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 32}))
    uniform("rope-linear-f16", "linear rope scaling", 5, 64, "float16",
            config(3, num_key_value_heads=3, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}))
    uniform("pruned-bf16", "5 heads of 16 in a width of 48: explicit head_dim", 6, 20, "bfloat16", config(5))
    every = list(range(37))
    different("different-f32", "MHA, no two layers alike, blocks and a whole layer skipped", 7, 20, "float32",
              config(4, head_dim=12, num_hidden_layers=6),
              [([0, 2, 3], every[::2]), (None, every), ([0, 1, 2, 3], None), ([2], [5]), (None, None), ([0, 1, 2, 3], every)])
    different("different-bf16", "GQA by whole groups, blocks skipped", 8, 24, "bfloat16",
              config(6, num_key_value_heads=3, head_dim=8, num_hidden_layers=4),
              [([0, 2], every[3:]), ([1], every), ([0, 1, 2], None), (None, every[::3])])


if __name__ == "__main__":
    main()
