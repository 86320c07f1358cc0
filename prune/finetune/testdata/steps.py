"""Makes the golden training runs of this directory, with PyTorch, transformers and peft.

    python steps.py

trains on the rows and the tokenizer of runtime/dataset/testdata (examples.py), and
writes

    model/         a small random LLaMA in bfloat16: 5 heads of 8 in a width of 24
    adapter/       a PEFT adapter to begin with, B not zero, as peft saves it
    steps.json     loss, rate and gradient norm of ten steps of each run, versions
    examples.safetensors  the adapter after ten steps of a loop written out below: the
                   mean of each example's mean over its targets
    tokens.safetensors    the same after ten steps of transformers' Trainer, whose loss is the
                   mean over all targets of a step, with two steps of warm-up

Dropout off, file order, float32 from the stored weights widened, four examples a
step (an epoch's last has two), 175 ids an example.
"""

import json
import pathlib
import platform
import shutil
import sys
import tempfile

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

ROOT = pathlib.Path(__file__).parents[3]
DATA = ROOT / "runtime/dataset/testdata"
sys.path[:0] = [str(ROOT / "runtime/model/testdata"), str(DATA)]
from examples import LENGTH, examples, rows  # noqa: E402
from golden import config, randomise, stored, text_of  # noqa: E402

HERE = pathlib.Path(__file__).parent
PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH, STEPS, RATE = 4, 10, 3e-3


def fresh(c, state, adapter=None):
    model = LlamaForCausalLM(c)
    wide = {k: v.float() for k, v in state.items()}
    wide["lm_head.weight"] = wide["model.embed_tokens.weight"]
    model.load_state_dict(wide)
    model.tie_weights()
    model.float()
    if adapter is not None:
        return peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)
    return peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=6, lora_dropout=0.0, target_modules=PARTS, task_type="CAUSAL_LM"))


def adapters(model):
    return {k: v.detach().clone().contiguous() for k, v in peft.get_peft_model_state_dict(model).items()}


def written_out(model, data):
    """AdamW, linear decay, clipping, the mean of per-example means."""
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    log, at = [], 0
    for step in range(STEPS):
        group = data[at:at + BATCH]
        at = at + BATCH if at + BATCH < len(data) else 0
        opt.zero_grad()
        total = 0.0
        for e in group:
            ids = torch.tensor(e["tokens"])
            z = model(ids[None], use_cache=False).logits[0]
            loss = torch.nn.functional.cross_entropy(z[e["firstTarget"] - 1:-1], ids[e["firstTarget"]:]) / len(group)
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0).item()
        lr = RATE * (STEPS - step) / STEPS
        for g in opt.param_groups:
            g["lr"] = lr
        opt.step()
        log.append({"loss": total, "lr": lr, "grad_norm": norm})
    return log


class InOrder(Trainer):
    def _get_train_sampler(self, dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def trainer(model, data):
    rows = [{"input_ids": e["tokens"], "labels": [-100] * e["firstTarget"] + e["tokens"][e["firstTarget"]:]} for e in data]
    collate = lambda b: {k: torch.tensor([r[k] for r in b]) for k in b[0]}
    with tempfile.TemporaryDirectory() as out:
        t = InOrder(model=model, train_dataset=rows, data_collator=collate, args=TrainingArguments(
            output_dir=out, per_device_train_batch_size=1, gradient_accumulation_steps=BATCH, max_steps=STEPS, learning_rate=RATE,
            lr_scheduler_type="linear", warmup_steps=2, max_grad_norm=1.0, weight_decay=0.0, logging_steps=1, save_strategy="no",
            report_to=[], use_cpu=True, disable_tqdm=True, remove_unused_columns=False, optim="adamw_torch"))
        t.train()
    return [{"loss": h["loss"], "lr": h["learning_rate"], "grad_norm": h["grad_norm"]} for h in t.state.log_history if "grad_norm" in h]


def main():
    torch.set_num_threads(1)
    tok = PreTrainedTokenizerFast(tokenizer_file=str(DATA / "tokenizer.json"))
    c = config(5, hidden_size=24, head_dim=8, intermediate_size=20, num_hidden_layers=2, vocab_size=1024, tie_word_embeddings=True, max_position_embeddings=256)
    model = LlamaForCausalLM(c)
    randomise(model, 11)
    state = stored(model, "bfloat16")
    for d in ("model", "adapter"):
        shutil.rmtree(HERE / d, ignore_errors=True)
    (HERE / "model").mkdir()
    (HERE / "model/config.json").write_text(json.dumps(text_of(c, "bfloat16"), indent=2, sort_keys=True) + "\n")
    save_file(state, HERE / "model/model.safetensors", {"format": "pt"})
    ex = examples(tok, rows(), LENGTH)

    model = fresh(c, state)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(0.1 * torch.randn(p.shape, generator=g))
    model.save_pretrained(HERE / "adapter")
    (HERE / "adapter/README.md").unlink(missing_ok=True)

    log = {}
    model = fresh(c, state, HERE / "adapter")
    log["examples"] = written_out(model, ex)
    save_file(adapters(model), HERE / "examples.safetensors")
    model = fresh(c, state, HERE / "adapter")
    log["tokens"] = trainer(model, ex)
    save_file(adapters(model), HERE / "tokens.safetensors")
    assert len(log["examples"]) == len(log["tokens"]) == STEPS
    log["versions"] = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (HERE / "steps.json").write_text(json.dumps(log, indent=1) + "\n")
    for name in ("examples", "tokens"):
        print(name, [f"{x['loss']:.4f}" for x in log[name]], [f"{x['lr']:.5f}" for x in log[name]])


if __name__ == "__main__":
    main()
