"""Fine-tune an adapter with PEFT on several processes, for `mop recover --adapter-init`.

    torchrun --nproc-per-node 2 finetune.py MODEL DATA OUT [STEPS]

DATA is a file of JSON lines with a key "text". Every process takes its share of the rows;
the gradients are averaged. On GPUs the backend is NCCL, on CPUs gloo. It is an example: real
runs use accelerate, DeepSpeed or FSDP with the same two lines that load the model.
"""

import json
import os
import sys

import peft
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    directory, data, out = sys.argv[1:4]
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 20
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")).to(device)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [json.loads(line)["text"] for line in open(data)][rank::size]
    for step in range(steps):
        ids = tokenizer(rows[step % len(rows)], return_tensors="pt", truncation=True, max_length=64).input_ids.to(device)
        loss = parallel(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        if rank == 0:
            print(f"step {step + 1}: loss {mean.item() / size:.4f}", flush=True)
    if rank == 0:
        model.save_pretrained(out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
