"""Shapes along MoP paths, by plain arithmetic, for paths_test.go.

Written from the rules as the package documents them and not from its code.
Python's round is half to even, and int/int is correctly rounded.

    python3 paths.py > paths.json        (CPython 3.8 or newer, standard library only)

paths: uniform models along the three released sequences. A row is one step:
       [L, H, K, I, params]; groups is rule groups' accumulator at the end.
mixed: random models whose layers differ, one width step after another by the
       same rules layer by layer. A row is one step: [[H, K, I], ...].
coins: 64 choices of criterion random, by seed: the top bit of word n of the
       stream "path" (the formula in runtime/random), 0 = L.
"""
import json
import math
import random

SEQUENCES = ["LGGLLLGGLLGLGLLGGL", "GGLLGGGLGGGLLLGGLL", "LGLGGLLGLLGLGLGLGG"]
MODELS = {  # L, D, H, K, Dh, I, V, tied
    "llama-2-7b": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "llama-2-13b": (40, 5120, 40, 40, 128, 13824, 32000, False),
    "llama-3-8b": (32, 4096, 32, 8, 128, 14336, 128256, False),
    "tinyllama-1.1b": (22, 2048, 32, 4, 64, 5632, 32000, False),
}
RUNS = [  # model, rule, round-to, heads-multiple
    ("llama-2-7b", "paper", 1, 1),
    ("llama-2-7b", "exact", 1, 1),
    ("llama-2-7b", "mlp-only", 1, 1),
    ("llama-2-7b", "groups", 1, 1),
    ("llama-2-13b", "paper", 1, 1),
    ("llama-2-13b", "exact", 1, 1),
    ("llama-3-8b", "mlp-only", 1, 1),
    ("llama-3-8b", "groups", 1, 1),
    ("tinyllama-1.1b", "mlp-only", 1, 1),
    ("tinyllama-1.1b", "groups", 1, 1),
    ("llama-2-7b", "paper", 64, 1),
    ("llama-2-7b", "exact", 128, 1),
    ("llama-2-7b", "exact", 256, 4),
    ("llama-2-7b", "exact", 1, 8),
    ("llama-3-8b", "mlp-only", 256, 1),
    ("llama-3-8b", "groups", 64, 1),
    ("llama-3-8b", "groups", 64, 8),
    ("tinyllama-1.1b", "groups", 32, 1),
]


def params(model, L, H, K, I):
    _, D, _, _, Dh, _, V, tied = model
    layer = 2 * H * Dh * D + 2 * K * Dh * D + 3 * I * D + 2 * D
    return L * layer + D + V * D * (1 if tied else 2)


def to_multiple(x, n, present):
    """The multiple of n nearest to x, a tie down, in [n, present]."""
    if present < n:
        return present
    below = math.floor(x / n)
    k = below + 1 if x / n - below > 0.5 else below
    return min(max(k, 1), present // n) * n


class Uniform:
    """The formulas as published, for layers that are all alike."""

    def __init__(self, model, rule, n, hm):
        self.model, self.rule, self.n, self.hm = model, rule, n, hm
        self.L, self.D, self.H, self.K, self.Dh, self.I, _, _ = model
        self.acc = self.carry = 0.0

    def width(self):
        L, D, H, K, Dh, I = self.L, self.D, self.H, self.K, self.Dh, self.I
        attn, mlp = L * (2 * H + 2 * K) * Dh * D, L * 3 * I * D
        P = (attn + mlp) // L + 2 * D
        group = (2 * (H // K) + 2) * Dh * D  # a head where K = H
        if self.n == 1 and self.hm == 1:
            g = nm = 0
            if self.rule in ("paper", "exact"):
                r = P / (attn + mlp)
                g = min(round(r * H), H - 1)
                nm = round(H * r - g + I * r) if self.rule == "paper" else round((P / L - g * 4 * Dh * D) / (3 * D))
            elif self.rule == "mlp-only":
                nm = round(I * P / mlp)
            else:
                self.acc += P * attn / (attn + mlp) / (group * L)
                if self.acc >= 1 and K > 2:
                    g, self.acc = 1, self.acc - 1
                self.acc = round(self.acc, 6)
                nm = round((P - g * group * L) / L / (3 * D))
            nm = max(0, min(nm, I - 1))
        else:
            share = P / L + self.carry
            r = share / ((attn + mlp) // L)
            g = 0
            if self.rule in ("paper", "exact"):
                g = max(0, min(round(r * H), H - 1)) if self.hm == 1 else H - to_multiple(H - r * H, self.hm, H)
            elif self.rule == "groups":
                self.acc += share * L * attn / (attn + mlp) / (group * L)
                unit = next((K - k for k in range(K - 1, 1, -1) if k * (H // K) % self.hm == 0), 0)
                if unit and self.acc >= unit:
                    g, self.acc = unit, self.acc - unit
                self.acc = round(self.acc, 6)
            lost = H * r - g + I * r if self.rule == "paper" else (share - g * group) / (3 * D)
            nm = I - to_multiple(I - lost, self.n, I)
            self.carry = share - g * group - nm * 3 * D
        self.H, self.K, self.I = H - g * (H // K), K - g, I - nm

    def row(self):
        return [self.L, self.H, self.K, self.I, params(self.model, self.L, self.H, self.K, self.I)]


def paths():
    out = []
    for name, rule, n, hm in RUNS:
        for seq in SEQUENCES:
            u, rows = Uniform(MODELS[name], rule, n, hm), []
            for c in seq:
                if c == "L":
                    u.L -= 1
                else:
                    u.width()
                rows.append(u.row())
            out.append({"model": name, "rule": rule, "round_to": n, "heads_multiple": hm, "sequence": seq,
                        "groups": u.acc, "rows": rows})
    return out


def mixed_step(D, Dh, rule, n, hm, layers, carry):
    """One width step of P parameters, every layer losing P/L by its own formula."""
    def a(y): return (2 * y[0] + 2 * y[1]) * Dh * D
    def f(y): return 3 * y[2] * D
    L = len(layers)
    third = layers[max(0, L - 3)]
    P = a(third) + f(third) + (D if third[0] else 0) + (D if third[2] else 0)
    for l, (H, K, I) in enumerate(layers):
        own = a(layers[l]) + f(layers[l])
        rounded = n > 1 or hm > 1
        share = P / L + carry[l] if rounded else P / L
        r = 0 if own == 0 else share / own if rounded else P / (L * own)
        g = 0
        if H and rule in ("paper", "exact"):
            g = max(0, min(round(r * H), H - 1)) if hm == 1 else H - to_multiple(H - r * H, hm, H)
        lost = H * r - g + I * r if rule == "paper" else (share - g * 4 * Dh * D) / (3 * D)
        nm = 0
        if I:
            nm = I - to_multiple(I - lost, n, I) if rounded else max(0, min(round(lost), I - 1))
        if rounded:
            carry[l] = share - g * 4 * Dh * D - nm * 3 * D
        layers[l] = [H - g * (H // K if H else 0), K - g, I - nm]


def mixed():
    rng, out = random.Random(6127), []
    for case in range(60):
        rule = ["paper", "exact", "mlp-only"][case % 3]
        n, hm = [(1, 1), (8, 1), (1, 2), (16, 4)][case // 3 % 4]
        D, Dh, L = rng.choice([16, 48, 64]), rng.choice([4, 8]), rng.randint(1, 7)
        layers = []
        for _ in range(L):
            K = rng.choice([0, 1, 2, 3, 5, 8, 12])
            H = K * rng.choice([1, 2, 4]) if rule == "mlp-only" else K
            layers.append([H, K, rng.choice([0, 1, 7, 40, 97, 128, 200])])
        case = {"rule": rule, "round_to": n, "heads_multiple": hm, "d_model": D, "head_dim": Dh,
                "layers": [list(y) for y in layers], "steps": []}
        carry = [0.0] * L
        for _ in range(6):
            mixed_step(D, Dh, rule, n, hm, layers, carry)
            case["steps"].append([list(y) for y in layers])
        out.append(case)
    return out


def coins():
    M, G = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M
        z = (z ^ z >> 27) * 0x94D049BB133111EB & M
        return z ^ z >> 31
    out = {}
    for seed in (0, 1, 2, 42, M):
        h = 0xCBF29CE484222325 ^ mix(seed + G & M)
        for b in b"path":
            h = (h ^ b) * 0x100000001B3 & M
        key = mix(h)
        out[str(seed)] = "".join("LG"[mix(key + (n + 1) * G & M) >> 63] for n in range(1, 65))
    return out


if __name__ == "__main__":
    p, m, c = paths(), mixed(), coins()
    print('{"paths": [\n' + ",\n".join(json.dumps(x) for x in p) + '\n], "mixed": [\n' + ",\n".join(json.dumps(x) for x in m) + "\n],\n\"coins\": " + json.dumps(c) + "}")
