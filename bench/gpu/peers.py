"""PyTorch transformers on the shapes that mop is measured on: random weights of the
same deviation, batch 1, greedy, 12 tokens in and 128 out.

eager: model.generate as it comes; a run of 8 tokens goes before those that count, of
which there are few: each takes seconds, and they differ by little. static: a static
cache, with which generate compiles its decode step, in the mode that replays CUDA
graphs; the first run, which compiles, does not count. A row's warm_up and runs say
what was done.

One JSON object a line, as they are measured.
"""
import argparse
import gc
import json
import pathlib
import statistics
import time

import torch
import transformers

BASES = {
    "llama-2-7b": dict(hidden_size=4096, vocab_size=32000, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, dtype=torch.float16),
    "llama-3-8b": dict(hidden_size=4096, vocab_size=128256, max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=500000.0, dtype=torch.bfloat16),
}
# the step of each released path that is measured, in plans/NAME.json (see bundle.sh)
STEPS = {"llama-2-7b": 15, "llama-3-8b": 17}


def shape_of(layers):
    """(layers, heads, key/value heads, neurons) of a plan's list of layer shapes."""
    kinds = {(s["heads"], s["kv_heads"], s["mlp"]) for s in layers}
    if len(kinds) != 1:
        raise ValueError(f"want layers of one shape, which transformers needs, got {sorted(kinds)}")
    return len(layers), *kinds.pop()


def read_shapes(folder):
    """The dense and the pruned shape of each base, from plans that mop plan --json wrote."""
    shapes = {}
    for base, step in STEPS.items():
        plan = json.loads((folder / f"{base}.json").read_text())
        pruned = next(s for s in plan["steps"] if s["step"] == step)
        shapes[base] = {"dense": shape_of(plan["base"]["shapes"]), "40 %": shape_of(pruned["shapes"])}
    return shapes


SHAPES = read_shapes(pathlib.Path(__file__).parent / "plans")


def build(base, shape, device="cuda"):
    b = dict(BASES[base])
    dtype = b.pop("dtype")
    layers, heads, kv, neurons = shape
    args = dict(num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=128, intermediate_size=neurons,
                tie_word_embeddings=False, initializer_range=0.02, **b)
    try:
        config, kind = transformers.LlamaConfig(**args), transformers.LlamaForCausalLM
    except Exception:
        # transformers 5 refuses a LLaMA whose heads do not divide its width. A Mistral
        # without a sliding window is the same computation.
        config, kind = transformers.MistralConfig(sliding_window=None, **args), transformers.MistralForCausalLM
    old = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = kind(config)
    finally:
        torch.set_default_dtype(old)
    return model.eval()


def shrink():
    """Tiny shapes in the models' place."""
    for b in BASES.values():
        b.update(hidden_size=64, vocab_size=96)
    for shapes in SHAPES.values():
        shapes.update({name: (2, s[1] // 4, s[2] // 4, 40) for name, s in shapes.items()})


def measure(model, runs, static, out):
    """The median of the runs, ms, and what went before them."""
    cuda = model.device.type == "cuda"
    tokens = torch.randint(3, model.config.vocab_size, (1, 12), device=model.device)
    args = dict(do_sample=False, pad_token_id=0)
    if static:
        args.update(cache_implementation="static", compile_config=transformers.CompileConfig(fullgraph=True, dynamic=False, mode="reduce-overhead"))

    def run(n):
        start = time.perf_counter()
        model.generate(tokens, max_new_tokens=n, min_new_tokens=n, **args)
        if cuda:
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)

    first = run(out if static else 8)
    if static and cuda and not hasattr(model, "_compiled_call"):
        raise RuntimeError("generate did not compile its decode step")
    times = [run(out) for _ in range(runs)]
    return statistics.median(times), {"warm_up": f"{out} tokens, compiling" if static else "8 tokens", "warm_up_ms": first, "runs": runs, "runs_ms": times}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--tiny", action="store_true", help="tiny shapes on whatever device there is, to try the script")
    o = p.parse_args()
    device = "cuda" if torch.cuda.is_available() or not o.tiny else "cpu"
    out = 32 if o.quick else 128
    if o.quick:  # a slice: four layers
        for shapes in SHAPES.values():
            shapes.update({name: (4, *s[1:]) for name, s in shapes.items()})
    if o.tiny:
        out = 8
        shrink()
    for base in ["llama-2-7b"] if o.quick else BASES:
        dense = {}
        for name, shape in SHAPES[base].items():
            layers = f", {shape[0]} layers" if o.quick else ""
            common = {"model": f"{base} {name}{layers}", "in": 12, "out": out, "gpu": torch.cuda.get_device_name() if device == "cuda" else device,
                      "torch": torch.__version__, "transformers": transformers.__version__}
            model = None
            for how, runs in [("eager", 2), ("static", 4)]:
                row = {**common, "how": how}
                try:
                    model = model or build(base, shape, device)
                    ms, what = measure(model, runs, how == "static", out)
                    if name == "dense":
                        dense[how] = ms
                    row.update(what, architecture=type(model).__name__, params=sum(q.numel() for q in model.parameters()), e2e_ms=ms, tokens_per_s=1000 * out / ms, speedup=dense[how] / ms if how in dense else None)
                except Exception as e:  # a peer that refuses a shape is a result
                    row["error"] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
                print(json.dumps(row), flush=True)
            model = None
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
            torch._dynamo.reset()


if __name__ == "__main__":
    main()
