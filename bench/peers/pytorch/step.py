"""Times LoRA training steps of transformers and peft: one row of random tokens a step.

    python step.py MODEL_DIR float32|bfloat16 THREADS [STEPS [LENGTH]]

Prints one JSON row: tokens a second, the median of the steps after the first.
The recipe is mop's default: rank 32 on all seven projections, dropout 0.05, AdamW,
clipping; adapters in float32.
"""

import json
import statistics
import sys
import time

import peft
import torch
import transformers

model, dtype, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps, length = int(sys.argv[4]) if len(sys.argv) > 4 else 4, int(sys.argv[5]) if len(sys.argv) > 5 else 512
torch.set_num_threads(threads)
m = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype), attn_implementation="sdpa")
m = peft.get_peft_model(m, peft.LoraConfig(r=32, lora_alpha=10, lora_dropout=0.05, task_type="CAUSAL_LM", target_modules=[
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
m.train()
params = [p for p in m.parameters() if p.requires_grad]
optimiser = torch.optim.AdamW(params, lr=3e-4, weight_decay=0)
g = torch.Generator().manual_seed(0)
seconds = []
for _ in range(steps):
    ids = torch.randint(3, m.config.vocab_size, (1, length), generator=g)
    began = time.perf_counter()
    optimiser.zero_grad()
    m(ids, labels=ids, use_cache=False).loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimiser.step()
    seconds.append(time.perf_counter() - began)
print(json.dumps([{"train_tps": length / statistics.median(seconds[1:]), "commit": f"torch {torch.__version__} transformers {transformers.__version__} peft {peft.__version__}"}]))
