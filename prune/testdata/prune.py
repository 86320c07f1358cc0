"""Makes prune.json: whole prunes of stories260K by MoP, step by step, with
transformers and numpy alone.

    python prune.py DATA        # DATA has stories260K/ and tinystories/

The model and its tokenizer are read from llama2.c's files. Every candidate is
transformers' LlamaForCausalLM with sliced projections and deleted layers, run in
float32; AMP scores (arXiv 2504.21174) and criteria are float64 sums over its
activations and logits. Rules as MoP has them for grouped-query models: `groups`, a
whole KV group of every layer whenever the attention's share of the budget has added
up to one, never below two; `mlp-only`. Allocation `global`: as many groups and as
many neurons in all as `uniform` takes, but from wherever score / (mean score of its
layer) is lowest, one neuron and two groups staying in every layer (`mlp-only` cuts
no heads).
"""

import copy
import json
import pathlib
import struct
import sys

import numpy as np
import torch
import transformers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent


def read_model(path):
    raw = path.read_bytes()
    dim, hidden, layers, heads, kv, vocab, positions = struct.unpack("<7i", raw[:28])
    assert vocab > 0, "a tied classifier"
    flat, at = np.frombuffer(raw[28:], dtype="<f4"), 0
    dh = dim // heads

    def take(*shape):
        nonlocal at
        n = int(np.prod(shape))
        out = torch.tensor(flat[at:at + n].reshape(shape).copy())
        at += n
        return out

    def halves(w, n):  # rows (pair, 2) of a head become rows (2, pair)
        return w.view(n, dh // 2, 2, dim).transpose(1, 2).reshape(n * dh, dim)

    c = LlamaConfig(vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                    num_key_value_heads=kv, head_dim=dh, max_position_embeddings=positions, rms_norm_eps=1e-5, tie_word_embeddings=True,
                    attn_implementation="eager")
    m = LlamaForCausalLM(c).eval()
    embed, attn_norm = take(vocab, dim), take(layers, dim)
    q, k, v, o = take(layers, heads * dh, dim), take(layers, kv * dh, dim), take(layers, kv * dh, dim), take(layers, dim, heads * dh)
    mlp_norm, gate, down, up, norm = take(layers, dim), take(layers, hidden, dim), take(layers, dim, hidden), take(layers, hidden, dim), take(dim)
    with torch.no_grad():
        m.model.embed_tokens.weight.copy_(embed)
        m.model.norm.weight.copy_(norm)
        for i, l in enumerate(m.model.layers):
            a = l.self_attn
            for to, w in ((l.input_layernorm, attn_norm[i]), (a.q_proj, halves(q[i], heads)), (a.k_proj, halves(k[i], kv)), (a.v_proj, v[i]),
                          (a.o_proj, o[i]), (l.post_attention_layernorm, mlp_norm[i]), (l.mlp.gate_proj, gate[i]), (l.mlp.up_proj, up[i]),
                          (l.mlp.down_proj, down[i])):
                to.weight.copy_(w)
    return m


def read_tokenizer(path, vocab):
    raw, at, pieces = path.read_bytes(), 4, []
    for _ in range(vocab):
        score, n = struct.unpack("<fi", raw[at:at + 8])
        pieces.append((raw[at + 8:at + 8 + n], score))
        at += 8 + n
    ids = {p: i for i, (p, _) in reversed(list(enumerate(pieces)))}

    def encode(text):
        out = []
        for ch in " " + text:
            b = ch.encode()
            out += [ids[b]] if b in ids else [x + 3 for x in b]
        while True:  # the best pair is merged, the first of equal ones
            best = (-1e10, None)
            for i in range(len(out) - 1):
                j = ids.get(pieces[out[i]][0] + pieces[out[i + 1]][0])
                if j is not None and pieces[j][1] > best[0]:
                    best = (pieces[j][1], (i, j))
            if best[1] is None:
                return out
            i, j = best[1]
            out[i:i + 2] = [j]

    return encode


class State:
    """Which layers, query heads, KV heads and neurons of the base are left."""

    def __init__(self, base):
        c = base.config
        self.per = c.num_attention_heads // c.num_key_value_heads
        self.dh, self.dim = c.head_dim, c.hidden_size
        self.layers = [(i, list(range(c.num_key_value_heads)), list(range(c.intermediate_size))) for i in range(c.num_hidden_layers)]
        self.acc = 0.0

    def heads(self, groups):
        return [g * self.per + i for g in groups for i in range(self.per)]

    def group(self):  # parameters of a KV group with its query heads
        return (2 * self.per + 2) * self.dh * self.dim

    def params(self, l):
        return len(l[1]) * self.group() + 3 * self.dim * len(l[2]) + 2 * self.dim

    def model(self, base):
        m = copy.deepcopy(base)

        def cut(p, rows=None, cols=None):
            w = p.weight.data
            w = w if rows is None else w[rows]
            w = w if cols is None else w[:, cols]
            out = nn.Linear(w.shape[1], w.shape[0], bias=False)
            out.weight.data = w.clone()
            return out

        kept = []
        for i, groups, mlp in self.layers:
            l = m.model.layers[i]
            kv = [g * self.dh + d for g in groups for d in range(self.dh)]
            q = [h * self.dh + d for h in self.heads(groups) for d in range(self.dh)]
            a = l.self_attn
            a.q_proj, a.k_proj, a.v_proj, a.o_proj = cut(a.q_proj, q), cut(a.k_proj, kv), cut(a.v_proj, kv), cut(a.o_proj, None, q)
            l.mlp.gate_proj, l.mlp.up_proj, l.mlp.down_proj = cut(l.mlp.gate_proj, mlp), cut(l.mlp.up_proj, mlp), cut(l.mlp.down_proj, None, mlp)
            kept.append(l)
        m.model.layers = nn.ModuleList(kept)
        m.config.num_hidden_layers = m.model.config.num_hidden_layers = len(kept)
        return m

    def total(self, base):
        outside = base.model.embed_tokens.weight.numel() + self.dim
        return outside + sum(self.params(l) for l in self.layers)


def logits(m, ids):
    with torch.no_grad():
        return m(torch.tensor([ids]), use_cache=False).logits[0].double()


def amp(state, base, prompts):
    m = state.model(base)
    seen = {}
    for n, l in enumerate(m.model.layers):
        l.self_attn.o_proj.register_forward_pre_hook(lambda _, a, n=n: seen.__setitem__(("a", n), a[0][0].double()))
        l.mlp.down_proj.register_forward_pre_hook(lambda _, a, n=n: seen.__setitem__(("m", n), a[0][0].double()))
    groups = [np.zeros(len(l[1])) for l in state.layers]
    neurons = [np.zeros(len(l[2])) for l in state.layers]
    for ids in prompts:
        logits(m, ids)
        for n, l in enumerate(m.model.layers):
            x, wo = seen["a", n], l.self_attn.o_proj.weight.double()
            head = [(x[:, h:h + state.dh] @ wo[:, h:h + state.dh].T).abs().sum().item() for h in range(0, x.shape[1], state.dh)]
            groups[n] += np.array(head).reshape(-1, state.per).mean(1) / len(ids) / len(prompts)
            neurons[n] += seen["m", n].abs().sum(0).numpy() / len(ids) / len(prompts)
    return groups, neurons


def depth(state):
    if len(state.layers) <= 3:
        return None
    s = copy.deepcopy(state)
    del s.layers[len(s.layers) - 3]
    return s


def width(state, rule, allocation, scores):
    s = copy.deepcopy(state)
    n = len(s.layers)
    budget = s.params(s.layers[n - 3])
    groups = [0] * n
    saving = False
    if rule == "groups":
        able = [i for i in range(n) if len(s.layers[i][1]) > 2]
        saving = bool(able)
        if able:
            attention = sum(len(s.layers[i][1]) * s.group() for i in able)
            both = attention + sum(3 * s.dim * len(s.layers[i][2]) for i in able)
            s.acc += budget * len(able) / n * attention / both / (s.group() * len(able))
            if s.acc >= 1:
                for i in able:
                    groups[i] = 1
                s.acc -= 1
            s.acc = round(s.acc, 6)
    neurons = [max(0, min(round((budget / n - groups[i] * s.group()) / (3 * s.dim)), len(s.layers[i][2]) - 1)) for i in range(n)]
    if not saving and sum(groups) + sum(neurons) == 0:
        return None
    by_group, by_neuron = scores()
    if allocation == "global":
        def spread(lists, least, count):
            entries = sorted((x / v.mean(), i) for i, v in enumerate(lists) for x in np.sort(v)[:max(0, len(v) - least)])
            return [sum(1 for _, i in entries[:count] if i == layer) for layer in range(n)]

        groups = spread(by_group, 2 if rule == "groups" else 1, sum(groups))
        neurons = spread(by_neuron, 1, sum(neurons))
    for i, (base, g, m) in enumerate(s.layers):
        gone_g, gone_m = np.argsort(by_group[i], kind="stable")[:groups[i]], np.argsort(by_neuron[i], kind="stable")[:neurons[i]]
        s.layers[i] = (base, [x for j, x in enumerate(g) if j not in gone_g], [x for j, x in enumerate(m) if j not in gone_m])
    return s


def score(criterion, reference, m, windows):
    total, count = 0.0, 0
    for ids, want in zip(windows, reference):
        got = logits(m, ids)
        if criterion == "ppl":
            lp = got[:-1].log_softmax(-1)
            total -= lp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum().item()
            count += len(ids) - 1
        elif criterion == "kl":
            p, q = want.log_softmax(-1), got.log_softmax(-1)
            total += (p.exp() * (p - q)).sum().item()
            count += len(ids)
        else:
            total += torch.cosine_similarity(want, got, dim=-1, eps=0).sum().item()
            count += len(ids)
    return float(np.exp(total / count)) if criterion == "ppl" else total / count


def run(base, prompts, windows, rule, allocation, criterion, sequence, most):
    state, steps = State(base), []
    whole = state.total(base)
    reference = [logits(base, w) for w in windows]
    while len(steps) < most:
        want = sequence[len(steps)] if sequence else None
        d = w = None
        if want != "G":
            d = depth(state)
        if want != "L" or d is None:
            w = width(state, rule, allocation, lambda: amp(state, base, prompts))
        if d is None and w is None and want == "G":
            d = depth(state)
        step = {"forced": False}
        if d is None and w is None:
            break
        if d is None or w is None:
            kind = "depth" if w is None else "width"
            step["forced"] = want is None or (want == "L") != (kind == "depth")
        else:
            step["scores"] = {k: score(criterion, reference, s.model(base), windows) for k, s in (("depth", d), ("width", w))}
            x, y = step["scores"]["depth"], step["scores"]["width"]
            kind = "width" if (y > x if criterion == "cosine" else y < x) else "depth"
        state = d if kind == "depth" else w
        step |= {"kind": kind, "params": state.total(base), "compression": 1 - state.total(base) / whole, "groups": state.acc,
                 "layers": [{"from": i, "heads": state.heads(g), "kv_heads": g, "mlp": m} for i, g, m in state.layers]}
        steps.append(step)
        print(rule, allocation, criterion or sequence, len(steps), kind, step.get("scores"), "forced" if step["forced"] else "", round(step["compression"], 4))
    return {"rule": rule, "allocation": allocation, "criterion": criterion or "sequence", "sequence": sequence, "steps": steps}


def main():
    data = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    base = read_model(data / "stories260K/stories260K.bin")
    encode = read_tokenizer(data / "stories260K/tok512.bin", base.config.vocab_size)
    stories = [s.strip() for s in (data / "tinystories/tinystories_sample_2M.txt").read_text().split("<|endoftext|>")]
    stories = [s for s in stories if s.isascii() and 300 < len(s) < 700]
    calibration, text = stories[:8], stories[8:12]
    prompts = [[1] + encode(s) for s in calibration]
    context, windows = 96, []
    for s in text:
        ids = encode(s)
        windows += [[1] + ids[i:i + context - 1] for i in range(0, len(ids), context - 1)]
    windows = windows[:6]
    cases = [run(base, prompts, windows, *c) for c in (
        ("groups", "uniform", "kl", "", 12), ("groups", "global", "kl", "", 8), ("mlp-only", "global", "cosine", "", 6), ("groups", "global", "ppl", "", 6),
        ("mlp-only", "uniform", "", "G" * 12, 12), ("groups", "global", "", "LLLGGLGG", 8))]
    json.dump({"made_by": f"prune.py, transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}",
               "calibration": calibration, "text": text, "context": context, "windows": len(windows), "cases": cases}, open(HERE / "prune.json", "w"))


main()
