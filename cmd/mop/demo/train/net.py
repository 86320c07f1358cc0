"""The LLaMA block and its stack, written for training on a few CPU cores.

Weights of one kind are one tensor over all layers, [L, out, in], so that the
optimiser works on seven big tensors instead of 154 small ones. `to_hf` gives
the same weights under the names that transformers reads.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

EPS = 1e-5
THETA = 10000.0


class Shape:
    def __init__(self, V=512, D=96, L=22, H=16, Dh=8, I=256, T=512):
        self.V, self.D, self.L, self.H, self.Dh, self.I, self.T = V, D, L, H, Dh, I, T


def rope_table(T, Dh):
    """cos and sin, each [T, Dh], in the half-split layout."""
    inv = THETA ** (-torch.arange(0, Dh, 2, dtype=torch.float32) / Dh)
    angle = torch.outer(torch.arange(T, dtype=torch.float32), inv)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def norm(x, weight):
    xf = x.float()
    return (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype) * weight


def rope(x, cos, sin):
    """x [B, H, T, Dh]."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


def block(x, n1, wq, wk, wv, wo, n2, wg, wu, wd, cos, sin, H, Dh):
    """One layer; x [B, T, D]."""
    B, T, D = x.shape
    h = norm(x, n1)
    q, k, v = F.linear(h, torch.cat([wq, wk, wv], dim=0)).view(B, T, 3, H, Dh).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(rope(q, cos, sin), rope(k, cos, sin), v, is_causal=True)
    x = x + F.linear(y.transpose(1, 2).reshape(B, T, H * Dh), wo)
    g, u = F.linear(norm(x, n2), torch.cat([wg, wu], dim=0)).chunk(2, dim=-1)
    return x + F.linear(F.silu(g) * u, wd)


class Llama(nn.Module):
    def __init__(self, s, seed=0):
        super().__init__()
        self.s = s
        g = torch.Generator().manual_seed(seed)

        def init(*shape, std):
            return nn.Parameter(torch.randn(*shape, generator=g) * std)

        A, out = s.H * s.Dh, (2 * s.L) ** -0.5
        self.emb = init(s.V, s.D, std=0.05)
        self.wq, self.wk, self.wv = (init(s.L, A, s.D, std=s.D ** -0.5) for _ in range(3))
        self.wo = init(s.L, s.D, A, std=A ** -0.5 * out)
        self.wg, self.wu = (init(s.L, s.I, s.D, std=s.D ** -0.5) for _ in range(2))
        self.wd = init(s.L, s.D, s.I, std=s.I ** -0.5 * out)
        self.n1, self.n2 = (nn.Parameter(torch.ones(s.L, s.D)) for _ in range(2))
        self.nf = nn.Parameter(torch.ones(s.D))
        cos, sin = rope_table(s.T, s.Dh)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.block = block

    def matrices(self):
        return [self.wq, self.wk, self.wv, self.wo, self.wg, self.wu, self.wd]

    def forward(self, ids, keep=None, drop=0.0):
        """Logits [B, T, V]. keep: the layers to run; drop: the share of heads and neurons
        silenced for this call, by column masks on the two output projections."""
        s, T = self.s, ids.shape[1]
        x = F.embedding(ids, self.emb)
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        x = x.to(dtype)
        cos, sin = self.cos[:T].to(dtype), self.sin[:T].to(dtype)
        for l in range(s.L) if keep is None else keep:
            wo, wd = self.wo[l], self.wd[l]
            if drop > 0:
                heads = (torch.rand(s.H) >= drop).float().repeat_interleave(s.Dh) / (1 - drop)
                wo = wo * heads
                wd = wd * ((torch.rand(s.I) >= drop).float() / (1 - drop))
            weights = (self.n1[l], self.wq[l], self.wk[l], self.wv[l], wo, self.n2[l], self.wg[l], self.wu[l], wd)
            x = self.block(x, *[w.to(dtype) for w in weights], cos, sin, s.H, s.Dh)
        return F.linear(norm(x, self.nf.to(dtype)), self.emb.to(dtype))

    def to_hf(self, dtype=torch.bfloat16):
        out = {"model.embed_tokens.weight": self.emb, "model.norm.weight": self.nf}
        names = {"wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
                 "wg": "mlp.gate_proj", "wu": "mlp.up_proj", "wd": "mlp.down_proj",
                 "n1": "input_layernorm", "n2": "post_attention_layernorm"}
        for own, hf in names.items():
            for l in range(self.s.L):
                out[f"model.layers.{l}.{hf}.weight"] = getattr(self, own)[l]
        return {k: v.detach().to(dtype).contiguous().clone() for k, v in out.items()}
