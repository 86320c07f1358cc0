"""Prints the summary table of a part of the GPU suite from its files: table.py PART DIR."""
import json
import pathlib
import re
import statistics
import sys


def lines(path):
    """The whole JSON lines of a file that may have been cut off."""
    out = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            out.append(json.loads(text))
        except ValueError:
            pass
    return out


def models(path):
    """Rows of the models that mop bench printed. For a run that was cut off, the medians
    of the samples that it kept."""
    parsed = lines(path)
    rows, runs = [r for r in parsed if r.get("kind") != "sample"], {}
    for r in parsed:
        if r.get("kind") == "sample" and not r["discarded"]:
            runs.setdefault(r["model"], []).append(r)
    return rows or [{"model": m, "cut": statistics.median(r["total_ns"] for r in s) / 1e6, "ttft_ms": statistics.median(r["ttft_ns"] for r in s) / 1e6, "runs": len(s)}
                    for m, s in runs.items()]


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" for _ in head) + "|")
    for r in rows:
        print("| " + " | ".join(str(c) for c in r) + " |")
    print()


def number(x, digits=4):
    return "-" if x is None else f"{x:.{digits}g}"


def main(part, folder):
    print(f"\n## {part}\n\n{(folder / 'machine.txt').read_text().strip()}\n")
    table(["row", "result", "note"], [r.split("\t") for r in (folder / "rows.tsv").read_text().splitlines()])
    measured = lines(folder / "roofline.jsonl") or lines(folder / "ceilings.jsonl")  # the name in results of earlier commits
    roofline = {c["what"]: c["value"] for c in measured}
    copy = roofline.get("device copy")
    if roofline:
        table(["roofline", "measured"], [(c["what"], f"{number(c['value'])} {c['unit']}" if c["unit"] else c["value"]) for c in measured])
    if (folder / "trace.md").exists():
        print((folder / "trace.md").read_text())
    rows = []
    for text in (folder / "kernels.txt").read_text().splitlines() if (folder / "kernels.txt").exists() else []:
        m = re.match(r"Benchmark(\S+?)(?:-\d+)?\s+\d+\s.*?([\d.e+]+) (GB/s|TFLOP/s|price|tokens/s)", text)
        if m:
            value, product = float(m[2]), roofline.get("product " + re.sub("^Prefill/sm_[^/]*/", "", m[1]))
            bound = {"GB/s": copy, "TFLOP/s": product}.get(m[3])
            rows.append((m[1], f"{number(value)} {m[3]}", f"{100 * value / bound:.0f} %" if bound else "-"))
    if rows:
        table(["kernel", "measured", "of copy or cuBLAS"], rows)
    for kind in ["decode", "prefill"]:
        rows = []
        for f in sorted(folder.glob(f"*.{kind}.jsonl")):
            for r in models(f):
                if "cut" in r:
                    rows.append((f.name.split(".")[0], r["model"], "-", number(r["cut"]), number(r["ttft_ms"]), *["-"] * 3, "cut off", f"{r['runs']} runs"))
                    continue
                gbps = r["bytes_per_token"] * r["decode_tps"] / 1e9 if r.get("decode_tps") else None
                rows.append((f.name.split(".")[0], r["model"], f"{100 * r['compression']:.2f} %", number(r["e2e_ms"]["median"]), number(r["ttft_ms"]),
                             number(r.get("decode_tps")), number(gbps) if kind == "decode" else number(r.get("prefill_gflops")),
                             f"{100 * gbps / copy:.0f} %" if kind == "decode" and gbps and copy else "-",
                             f"{number(r['speedup']['median'])} [{number(r['speedup']['lo'])}, {number(r['speedup']['hi'])}]", f"{100 * r['gain']:.1f} %"))
        if rows:
            unit = "GB/s" if kind == "decode" else "prefill GFLOP/s"
            table([kind, "model", "compression", "end to end, ms", "first token, ms", "tokens/s", unit, "of copy", "speed-up", "gain"], rows)
    rows = []
    for f in sorted(folder.glob("*.batch.jsonl"), key=lambda f: (f.name.rsplit("-", 1)[0], int(re.search(r"-(\d+)\.batch", f.name)[1]))):
        name, sequences = f.name.removesuffix(".batch.jsonl").rsplit("-", 1)
        for r in models(f):
            if "cut" in r:
                rows.append((name, sequences, *["-"] * 4, f"cut off, {r['runs']} runs"))
                continue
            tps = r.get("decode_tps")
            gbps = r["bytes_per_token"] * tps / 1e9 if tps else None
            rows.append((name, sequences, number(1000 * int(sequences) / tps) if tps else "-", number(tps), number(gbps), f"{100 * gbps / copy:.0f} %" if gbps and copy else "-",
                         number(r["peak_bytes"] / 1e9) if r.get("peak_bytes") else "-"))
    if rows:
        table(["decode", "sequences", "step, ms", "tokens/s", "GB/s", "of copy", "memory, GB"], rows)
    rows = []
    for f in sorted(folder.glob("*.serving.json")):
        for result in [json.loads(f.read_text())] if f.stat().st_size else []:
            for r in result["rows"]:
                percentiles = [r[k].get("percentiles") or {} for k in ("ttft", "itl")]
                rows.append((f.name.split(".serving")[0], r["level"], r["requests"], number(r["output_tokens_per_s"]), *(number(p.get("p50")) for p in percentiles), r["errors"]))
    if rows:
        table(["serving", "load", "requests", "output tokens/s", "TTFT p50, ms", "ITL p50, ms", "errors"], rows)
    rows = []
    for f in sorted(folder.glob("*.long.jsonl")):
        for r in models(f):
            if "cut" in r:
                rows.append((f.name.split(".long")[0], number(r["cut"]), number(r["ttft_ms"]), "-", f"cut off, {r['runs']} runs"))
                continue
            rows.append((f.name.split(".long")[0], number(r["e2e_ms"]["median"]), number(r["ttft_ms"]), number(r.get("decode_tps")), number(r["peak_bytes"] / 1e9) if r.get("peak_bytes") else "-"))
    if rows:
        table(["long context, KV cache", "end to end, ms", "first token, ms", "tokens/s", "memory, GB"], rows)
    rows, dense = [], {}
    for f in sorted(folder.glob("*.image.jsonl")):
        for r in models(f):
            if "cut" in r:
                rows.append((r["model"], "-", number(r["cut"]), *["-"] * 5, f"cut off, {r['runs']} runs"))
                continue
            s = r["stages"]
            language = r["e2e_ms"]["median"] - s["preprocess_ms"] - s["vision_ms"] - s["projection_ms"]
            rows.append((r["model"], f"{100 * r['compression']:.2f} %", number(r["e2e_ms"]["median"]), number(s["preprocess_ms"]), number(s["vision_ms"]), number(s["projection_ms"]),
                         number(s["prefill_ms"]), number(language), number(dense.setdefault(f, language) / language)))
    if rows:
        table(["with a picture", "compression", "end to end, ms", "preprocessing, ms", "vision, ms", "projection, ms", "prefill, ms", "language model, ms", "its speed-up"], rows)
    rows = [(r["model"], r.get("how", "mop") + (", recompute" if r.get("recompute") else "") + (", one example a pass" if r.get("how") is None and not r.get("pass_tokens") else ""), r["lengths"], r["rank"], number(r.get("train_tps"), 5), number(r.get("train_tflops")),
             number(r["peak_bytes"] / 1e9) if r.get("peak_bytes") else "-", number(r.get("recipe_hours"), 3), r.get("error", ""))
            for f in ["training.jsonl", "peft.jsonl"] for r in lines(folder / f)]
    if rows:
        table(["training", "how", "tokens an example", "rank", "tokens/s", "TFLOP/s", "memory, GB", "recipe, h", "error"], rows)
    rows = [(r["model"], r["how"], r.get("warm_up", "-"), r.get("runs", "-"), number(r.get("e2e_ms")), number(r.get("tokens_per_s")), number(r.get("speedup")), r.get("error", "")) for r in lines(folder / "peers.jsonl")]
    if rows:
        table(["transformers", "how", "warm-up", "runs", "end to end, ms", "tokens/s", "speed-up", "error"], rows)


main(sys.argv[1], pathlib.Path(sys.argv[2]))
