"""Training adapters by PyTorch, transformers and peft on the shapes that mop is measured
on: random weights, mop's default recipe (rank 32 on all seven projections, dropout
0.05, AdamW, clipping, 16 examples accumulated, one a pass, unpadded), adapters in
float32 under autocast to the weights' type, gradients scaled where that is float16.

    peers_training.py [--quick] [--tiny]

lengths: 512 tokens of every example, or those of alpaca.json, in its order. One JSON
object a line, as they are measured; the first step, of the longest examples, does not
count.
"""
import argparse
import gc
import json
import pathlib
import time

import peft
import torch
import transformers

from peers import BASES, SHAPES, build, shrink

BATCH = 16
RECIPE = 2 * 51760  # examples


def lengths(name, steps):
    if name == "512":
        return [(512, 1)] * (steps * BATCH)
    rows = json.loads((pathlib.Path(__file__).parent / "alpaca.json").read_text())["lengths"]
    return [tuple(rows[i % len(rows)]) for i in range(steps * BATCH)]


def measure(model, dtype, device, rows):
    model = peft.get_peft_model(model, peft.LoraConfig(r=32, lora_alpha=10, lora_dropout=0.05, task_type="CAUSAL_LM", target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    for p in params:
        p.data = p.data.float()
    optimiser = torch.optim.AdamW(params, lr=3e-4, weight_decay=0.0, fused=device == "cuda")
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    vocab, tokens, begin = model.config.vocab_size, 0, None
    for step in range(-1, len(rows) // BATCH):
        examples = [max(rows)] * BATCH if step < 0 else rows[step * BATCH:(step + 1) * BATCH]
        if step == 0:
            if device == "cuda":
                torch.cuda.synchronize()
            begin = time.perf_counter()
        for n, first in examples:
            ids = torch.randint(3, vocab, (1, n), device=device)
            labels = ids.clone()
            labels[:, :first] = -100
            with torch.autocast(device, dtype=dtype):
                loss = model(ids, labels=labels, use_cache=False).loss / BATCH
            scaler.scale(loss).backward()
            tokens += n if step >= 0 else 0
        scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        loss.item()  # as a log of every step does
    if device == "cuda":
        torch.cuda.synchronize()
    return tokens, time.perf_counter() - begin


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--tiny", action="store_true", help="tiny shapes on whatever device there is, to try the script")
    o = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if o.tiny:
        shrink()
    for base, name in [("llama-2-7b", "40 %")] if o.quick else [("llama-2-7b", "40 %"), ("llama-3-8b", "40 %")]:
        for what, steps in [("512", 1 if o.quick else 2), ("alpaca", 1 if o.quick else 4)]:
            row = {"model": f"{base} {name}", "how": "peft", "lengths": what, "rank": 32, "batch": BATCH, "steps": steps,
                   "device": torch.cuda.get_device_name() if device == "cuda" else device,
                   "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
            try:
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                dtype = BASES[base]["dtype"]
                model = build(base, SHAPES[base][name], device)
                tokens, seconds = measure(model, dtype, device, lengths(what, steps))
                row.update(tokens=tokens, seconds=seconds, train_tps=tokens / seconds, recipe_hours=RECIPE * seconds / (steps * BATCH) / 3600)
                if device == "cuda":
                    row["peak_bytes"] = torch.cuda.max_memory_allocated()
            except Exception as e:  # a peer that refuses a shape is a result
                row["error"] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
            print(json.dumps(row), flush=True)
            model = None
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()


main()
