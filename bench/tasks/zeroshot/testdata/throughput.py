"""Compares the time of mop and of lm-evaluation-harness for the same questions, on the same
machine in the same run.

    python throughput.py MOP DATA MODEL [--task arc_easy] [--limit N] [--threads 2] [--rounds 1] [--batch 16]

The harness is loaded once and only its scoring is timed, the call of simple_evaluate; of
mop the whole process is timed, with its loading, in every round. The seconds of the
clock and of the processor are printed, and the ratios harness / mop. The answers are
compared as well.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from harness import evaluate, write_tasks


def children():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mop")
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("model")
    p.add_argument("--task", default="arc_easy")
    p.add_argument("--limit", type=int, default=0, help="0 = all questions")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--batch", type=int, default=16)
    a = p.parse_args()
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        n = write_tasks(folder, a.data, [a.task], False)[a.task]
        n = min(n, a.limit) if a.limit else n
        model = HFLM(pretrained=a.model, device="cpu", dtype="float32", batch_size=a.batch)
        manager = TaskManager(include_path=tmp)
        for number in range(a.rounds):
            log = folder / f"log{number}"
            wall, cpu = time.perf_counter(), children()
            subprocess.run([a.mop, "eval", "tasks", "--model", a.model, "--tasks", a.task, "--data", str(a.data), "--limit", str(n), "--threads", str(a.threads),
                            "--device", "cpu", "--log", str(log)], check=True, capture_output=True)
            mop = time.perf_counter() - wall, children() - cpu
            wall, cpu = time.perf_counter(), time.process_time()
            answers = evaluate(model, manager, a.task, list(range(n)))
            peer = time.perf_counter() - wall, time.process_time() - cpu
            own = [json.loads(line) for line in log.open()]
            same = sum(x["acc"] == y["acc"] and x.get("acc_norm") == y.get("acc_norm") for x, y in zip(own, answers))
            print(json.dumps({"task": a.task, "questions": n, "same_answers": same, "threads": a.threads, "batch": a.batch,
                              "mop_s": round(mop[0], 2), "harness_s": round(peer[0], 2), "ratio": round(peer[0] / mop[0], 2),
                              "mop_cpu_s": round(mop[1], 2), "harness_cpu_s": round(peer[1], 2), "cpu_ratio": round(peer[1] / mop[1], 2)}), flush=True)


main()
