"""Trains the demo model with PyTorch on the CPU and writes a Hugging Face directory.

    python train.py --minutes 28 --out ../model

22 thin layers of the LLaMA architecture, about 2.8 million parameters. Whole
layers are dropped at random during training (stochastic depth), as deep
networks often are; it also makes them degrade gently when layers are cut.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

import stories

V, D, L, H, DH, I, CONTEXT, EPS, THETA = 1024, 96, 22, 16, 8, 256, 512, 1e-5, 10000.0
BOS, EOS = 1, 2


def tokenizer(texts):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    # Words are merged apart in training (no piece crosses a space), whole text at run time.
    words = (w for s in texts for w in s.replace(" ", " ▁").split(" "))
    plain = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    plain.train_from_iterator(words, trainers.BpeTrainer(vocab_size=V, special_tokens=special, show_progress=False))
    j, p = json.loads(t.to_str()), json.loads(plain.to_str())
    j["model"]["vocab"], j["model"]["merges"] = p["model"]["vocab"], p["model"]["merges"]
    j["added_tokens"] = [a for a in p["added_tokens"] if a["id"] < 3]
    t = Tokenizer.from_str(json.dumps(j))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return t


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        lin = lambda o, i: torch.nn.Linear(i, o, bias=False)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = lin(H * DH, D), lin(H * DH, D), lin(H * DH, D), lin(D, H * DH)
        self.gate_proj, self.up_proj, self.down_proj = lin(I, D), lin(I, D), lin(D, I)
        self.n1, self.n2 = torch.nn.Parameter(torch.ones(D)), torch.nn.Parameter(torch.ones(D))

    def forward(self, x, cos, sin, mask, gain):
        b, t, _ = x.shape
        h = F.rms_norm(x, (D,), self.n1, EPS)
        q, k, v = (p(h).view(b, t, H, DH).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        turn = lambda z: z * cos + torch.cat((-z[..., DH // 2:], z[..., :DH // 2]), -1) * sin
        # Heads of 8 are too narrow for PyTorch's fused attention on a CPU: this is faster.
        a = (turn(q) * DH ** -0.5 @ turn(k).transpose(-1, -2) + mask).softmax(-1) @ v
        x = x + gain * self.o_proj(a.transpose(1, 2).reshape(b, t, H * DH))
        h = F.rms_norm(x, (D,), self.n2, EPS)
        return x + gain * self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(V, D)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(L))
        self.norm = torch.nn.Parameter(torch.ones(D))
        for n, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.06
                if n.endswith(("o_proj.weight", "down_proj.weight")):
                    std /= math.sqrt(2 * L)
                torch.nn.init.normal_(p, 0, std)
        f = THETA ** (-torch.arange(0, DH, 2).float() / DH)
        angle = torch.outer(torch.arange(CONTEXT).float(), f)
        self.register_buffer("cos", torch.cat((angle.cos(), angle.cos()), -1), persistent=False)
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1), persistent=False)
        self.register_buffer("sin", torch.cat((angle.sin(), angle.sin()), -1), persistent=False)

    def forward(self, ids, drop=0.0, skip=()):
        x, t = self.embed(ids), ids.shape[1]
        for l, layer in enumerate(self.layers):
            # Deeper layers are dropped more often, the last two never.
            p = drop * 2 * l / L if l < L - 2 else 0
            if l in skip or (p and random.random() < p):
                continue
            x = layer(x, self.cos[:t], self.sin[:t], self.mask[:t, :t], 1 / (1 - p) if p else 1.0)
        return F.rms_norm(x, (D,), self.norm, EPS) @ self.embed.weight.T


def hf(m):
    out = {"model.embed_tokens.weight": m.embed.weight, "model.norm.weight": m.norm}
    for l, y in enumerate(m.layers):
        p = f"model.layers.{l}."
        for n in ("q_proj", "k_proj", "v_proj", "o_proj"):
            out[p + f"self_attn.{n}.weight"] = getattr(y, n).weight
        for n in ("gate_proj", "up_proj", "down_proj"):
            out[p + f"mlp.{n}.weight"] = getattr(y, n).weight
        out[p + "input_layernorm.weight"], out[p + "post_attention_layernorm.weight"] = y.n1, y.n2
    return {k: v.detach().to(torch.bfloat16).contiguous() for k, v in out.items()}


def save(m, t, out):
    os.makedirs(out, exist_ok=True)
    save_file(hf(m), f"{out}/model.safetensors", {"format": "pt"})
    t.save(f"{out}/tokenizer.json")
    put = lambda name, v: open(f"{out}/{name}", "w").write(json.dumps(v, indent=2) + "\n")
    put("config.json", dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=V, hidden_size=D, num_hidden_layers=L,
        num_attention_heads=H, num_key_value_heads=H, head_dim=DH, intermediate_size=I, hidden_act="silu", rms_norm_eps=EPS,
        rope_theta=THETA, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS,
        attention_bias=False, mlp_bias=False, torch_dtype="bfloat16"))
    put("generation_config.json", dict(bos_token_id=BOS, eos_token_id=EOS))
    put("tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False))
    put("special_tokens_map.json", dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))


@torch.no_grad()
def evaluate(m, docs, skip=()):
    """Mean negative log-likelihood in nats of the ids after BOS, each story alone."""
    total = n = 0
    for ids in docs:
        x = torch.tensor([[BOS] + ids])
        z = m(x, skip=skip)[0, :-1]
        total += F.cross_entropy(z, x[0, 1:], reduction="sum").item()
        n += len(ids)
    return total / n


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, default=28)
    a.add_argument("--out", default="../model")
    a.add_argument("--batch", type=int, default=8)
    a.add_argument("--length", type=int, default=160)
    a.add_argument("--rate", type=float, default=3e-3)
    a.add_argument("--drop", type=float, default=0.1)
    a.add_argument("--seed", type=int, default=1)
    o = a.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(o.seed)
    random.seed(o.seed)
    held, seen = stories.splits()
    t = tokenizer([stories.story(stories.TRAIN + i) for i in range(4000)])
    docs = [t.encode(s, add_special_tokens=False).ids for s in held["evaluation"]]
    m = Model()
    print("parameters", sum(p.numel() for p in m.parameters()), "ids per evaluation story", sum(map(len, docs)) / len(docs), flush=True)
    decay = [p for p in m.parameters() if p.dim() == 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": [p for p in m.parameters() if p.dim() < 2], "weight_decay": 0}],
                            lr=o.rate, betas=(0.9, 0.98))
    stream, seed, start, step, tokens, saved = [], stories.TRAIN, time.time(), 0, 0, 0.0
    while True:
        share = (time.time() - start) / (60 * o.minutes)
        if share >= 1:
            break
        need = o.batch * (o.length + 1)
        while len(stream) < need:
            s = stories.story(seed)
            seed += 1
            if s not in seen:
                stream += [BOS] + t.encode(s, add_special_tokens=False).ids + [EOS]
        x = torch.tensor(stream[:need]).view(o.batch, o.length + 1)
        stream = stream[need:]
        rate = o.rate * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, share))))
        for g in opt.param_groups:
            g["lr"] = rate
        loss = F.cross_entropy(m(x[:, :-1], drop=o.drop * min(1, 2 * (1 - share))).reshape(-1, V), x[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        step += 1
        tokens += x[:, 1:].numel()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f} rate {rate:.2e} {tokens} tokens {tokens / (time.time() - start):.0f}/s", flush=True)
        if time.time() - saved > 150:
            save(m, t, o.out)
            saved = time.time()
    save(m, t, o.out)
    print(f"steps {step} tokens {tokens} stories {seed - stories.TRAIN}")
    print("evaluation nll", evaluate(m, docs))
    for k in (4, 8):  # deleting the third-to-last layer k times
        print(f"evaluation nll without {k} layers", evaluate(m, docs, skip=range(L - 2 - k, L - 2)))


if __name__ == "__main__":
    main()
