"""Measures the card's roofline with PyTorch: a device copy, and matrix products of 2048 rows.

Prints one JSON object per line as soon as it is measured: {"what": ..., "value": ..., "unit": ...}.
"""
import json
import sys
import time

import torch

TINY = "--tiny" in sys.argv  # small shapes on the host, to try the script
DEVICE = "cpu" if TINY else "cuda"

def seconds(f, least):
    """The median time of f, measured for at least that long."""
    for _ in range(3):
        f()
    if TINY:
        start = time.perf_counter()
        f()
        return time.perf_counter() - start
    torch.cuda.synchronize()
    times, start = [], time.time()
    while time.time() - start < least or len(times) < 5:
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        for _ in range(10):
            f()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b) / 1e4)
    return sorted(times)[len(times) // 2]


def say(what, value, unit):
    print(json.dumps({"what": what, "value": value, "unit": unit}), flush=True)


def main():
    least = 0.3 if "--quick" in sys.argv else 1
    say("gpu", "none" if TINY else torch.cuda.get_device_name(), "")
    n = 1 << 20 if TINY else 2 << 30
    x, y = torch.empty(n, dtype=torch.uint8, device=DEVICE), torch.empty(n, dtype=torch.uint8, device=DEVICE)
    say("device copy", 2 * n / seconds(lambda: y.copy_(x), least) / 1e9, "GB/s")
    del x, y
    for name, out, inner in [("square 8192", 8192, 8192), ("llama-2-7b/qkv", 12288, 4096), ("llama-2-7b/o", 4096, 4096),
                             ("llama-2-7b/gate-up", 22016, 4096), ("llama-2-7b/down", 4096, 11008), ("llama-3-8b/qkv", 6144, 4096),
                             ("llama-3-8b/gate-up", 28672, 4096), ("llama-3-8b/down", 4096, 14336)]:
        rows = 8192 if name.startswith("square") else 2048
        if TINY:
            rows, out, inner = 4, out // 64, inner // 64
        a = torch.randn(rows, inner, dtype=torch.bfloat16, device=DEVICE)
        w = torch.randn(out, inner, dtype=torch.bfloat16, device=DEVICE)
        say(f"product {name}", 2 * rows * out * inner / seconds(lambda: a @ w.T, least) / 1e12, "TFLOP/s")


main()
