#!/usr/bin/env python3
"""Known answers of package random, from its documented formula.

Written from the formula alone, with Python's integers and numpy's roundings
(float32 product; ml_dtypes-free bfloat16 rounding by exact rationals).

Made with Python 3 and numpy 2:  python3 recipe.py > golden.json
"""
import json
from fractions import Fraction
import numpy as np

M = (1 << 64) - 1
G = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def key(seed, name):
    h = 0xCBF29CE484222325 ^ mix((seed + G) & M)
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & M
    return mix(h)


def word(k, j):
    return mix((k + (j + 1) * G) & M)


def integer(k, i):
    u = (word(k, i >> 1) >> (32 * (i & 1))) & 0xFFFFFFFF
    if u >= 1 << 31:
        u -= 1 << 32
    return 2 * (u >> 8) + 1


def bf16_bits(x):
    """Nearest bfloat16 of a float32, ties to even, by exact comparison."""
    bits = int(np.float32(x).view(np.uint32))
    down = bits & 0xFFFF0000
    lo, hi = (Fraction(float(np.uint32(b).view(np.float32))) for b in (down, down + 0x10000))
    v = Fraction(float(x))
    dl, dh = abs(v - lo), abs(hi - v)
    if dl < dh or (dl == dh and (down >> 16) % 2 == 0):
        return down >> 16
    return (down >> 16) + 1


cases = []
for seed, name, std in [
    (0, "", 1.0),
    (1, "model.embed_tokens.weight", 0.02),
    (42, "model.layers.7.self_attn.q_proj.weight", 0.02),
    (M, "lm_head.weight", 0.006),
]:
    k = key(seed, name)
    scale = np.float32(np.float64(std) * 1.7320508075688772 / 16777216)
    rows = []
    for i in [0, 1, 2, 3, 4, 5, 6, 7, 1000, 1001, 45088767, (1 << 40) + 3]:
        m = integer(k, i)
        assert np.float32(m) == m
        x = np.float32(m) * scale
        rows.append({
            "i": i, "m": m,
            "f32": int(x.view(np.uint32)),
            "f16": int(np.float16(x).view(np.uint16)),
            "bf16": bf16_bits(x),
        })
    cases.append({"seed": str(seed), "name": name, "std": std, "key": str(k),
                  "words": [str(word(k, j)) for j in range(3)],
                  "scale": int(scale.view(np.uint32)), "elements": rows})
print(json.dumps({"cases": cases}, indent=1))
