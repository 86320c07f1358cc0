"""Makes the golden files of this folder: the answers of lm-evaluation-harness.

    python harness.py DATA MODEL NAME OUT [--limit 200] [--tasks piqa,...]
    python harness.py --fields --samples samplelogs synthetic DEMO synthetic .

DATA is the folder with the files of the tasks, MODEL a directory in Hugging Face's
layout, NAME what the golden file calls it. For BOS off and on it writes
OUT/NAME-bos-off.json and OUT/NAME-bos-on.json: per task the harness's accuracies, and per
question the log-likelihood of every choice and what the metrics say.

The harness scores with its own formats, boundaries and metrics; only the place of the
data differs from its task files, since there is no hub here. Each file is rewritten with
the fields of the data set that the harness reads (see the functions below).

The harness's add_bos_token passes add_special_tokens to the tokenizer. A tokenizer without
BOS in its template then still adds none, so this script sets the template.

The files here have the first 200 questions of each task for the demo's model and for SmolLM2
(the options' defaults). What OUT has already is kept, so that a run goes on where another was
stopped, and --tasks makes the files task by task.

Made with lm_eval 0.4.13, transformers 4.57.6, torch 2.15.0, tokenizers 0.22, Python 3.11.
"""

import argparse
import json
import os
import pathlib
import re
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import lm_eval
import torch
from lm_eval.api import metrics
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers.processors import TemplateProcessing


def rows(path):
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def piqa(data):
    labels = (data / "piqa/valid-labels.lst").read_text().split()
    return [dict(r, label=int(gold)) for r, gold in zip(rows(data / "piqa/valid.jsonl"), labels)]


def hellaswag(data):
    """Six lines a question: context, label, four endings. The context's last, unfinished
    sentence is ctx_b, which the harness capitalises."""
    lines = (data / "hellaswag/hellaswag_val_full.txt").read_text(encoding="utf-8").split("\n")
    out = []
    for i in range(0, len(lines) - 5, 6):
        activity, ctx = lines[i].split(": ", 1)
        ctx_a, ctx_b = ctx, ""
        if not ctx.endswith((".", "!", "?")):
            ends = [m.end() for m in re.finditer(r"[.!?] ", ctx)]
            if ends:
                ctx_a, ctx_b = ctx[: ends[-1] - 1], ctx[ends[-1] :]
        out.append({"activity_label": activity, "ctx_a": ctx_a, "ctx_b": ctx_b, "endings": lines[i + 2 : i + 6], "label": lines[i + 1]})
    return out


def winogrande(data):
    out = []
    for r in rows(data / "llm-foundry/winogrande.jsonl"):
        a, b = r["context_options"]
        n = len(os.path.commonprefix([a, b]))
        assert "_" not in a[:n]
        out.append({"sentence": a[:n] + "_ " + r["continuation"], "option1": a[n:], "option2": b[n:], "answer": str(r["gold"] + 1)})
    return out


def lettered(choices, gold):
    labels = [chr(ord("A") + i) for i in range(len(choices))]
    return {"choices": {"text": choices, "label": labels}, "answerKey": labels[gold]}


def arc(name):
    return lambda data: [dict(lettered(r["choices"], r["gold"]), id=str(i), question=r["query"].removeprefix("Question: "))
                         for i, r in enumerate(rows(data / f"llm-foundry/{name}.jsonl"))]


def openbookqa(data):
    return [dict(lettered(r["choices"], r["gold"]), question_stem=r["query"]) for r in rows(data / "llm-foundry/openbook_qa.jsonl")]


def boolq(data):
    out = []
    for r in rows(data / "llm-foundry/boolq.jsonl"):
        passage, question = r["query"].removeprefix("Passage: ").rsplit("\nQuestion: ", 1)
        out.append({"passage": passage, "question": question.removesuffix("?"), "label": r["gold"]})
    return out


TASKS = {  # name: (split, the harness's file, rows with the data set's fields)
    "piqa": ("validation", "piqa/piqa.yaml", piqa),
    "hellaswag": ("validation", "hellaswag/hellaswag.yaml", hellaswag),
    "winogrande": ("validation", "winogrande/default.yaml", winogrande),
    "arc_easy": ("test", "arc/arc_easy.yaml", arc("arc_easy")),
    "arc_challenge": ("test", "arc/arc_challenge.yaml", arc("arc_challenge")),
    "boolq": ("validation", "super_glue/boolq/default.yaml", boolq),
    "openbookqa": ("test", "openbookqa/openbookqa.yaml", openbookqa),
}


def write_tasks(folder, data, names, fields):
    """Writes each task's rows and a task file that includes the harness's own. It returns
    the number of rows by task."""
    counts = {}
    own = pathlib.Path(lm_eval.__file__).parent / "tasks"
    for name in names:
        split, yaml, convert = TASKS[name]
        path = folder / f"{name}.jsonl"
        questions = rows(data / f"{name}.jsonl") if fields else convert(data)
        counts[name] = len(questions)
        path.write_text("".join(json.dumps(r) + "\n" for r in questions), encoding="utf-8")
        splits = {"training_split": "null", "validation_split": "null", "test_split": "null", f"{split}_split": split}
        (folder / f"{name}.yaml").write_text(
            f"include: {own / yaml}\ntask: {name}_file\ntag: null\ndataset_path: json\ndataset_name: null\n"
            + "".join(f"{k}: {v}\n" for k, v in splits.items())
            + f"dataset_kwargs:\n  data_files:\n    {split}: {path}\n")
    return counts


def evaluate(model, manager, name, numbers, samples_file=None):
    """Answers some questions of one task."""
    result = lm_eval.simple_evaluate(model=model, tasks=[f"{name}_file"], samples={f"{name}_file": numbers}, log_samples=True,
                                     bootstrap_iters=0, task_manager=manager)
    samples = sorted(result["samples"][f"{name}_file"], key=lambda s: s["doc_id"])
    if samples_file:
        samples_file.write_text("".join(json.dumps(s, default=str) + "\n" for s in samples))
    return [{"sums": [float(f"{float(r[0][0] if isinstance(r[0], (list, tuple)) else r[0]):.7g}") for r in s["resps"]],
             "acc": int(s["acc"]), **({"acc_norm": int(s["acc_norm"])} if "acc_norm" in s else {})}
            for s in samples]


def figures(questions):
    """The harness's mean and standard error of what it said of each question."""
    out = {"n": len(questions)}
    for metric in ("acc", "acc_norm"):
        values = [q[metric] for q in questions if metric in q]
        if values:
            out[metric], out[metric + "_stderr"] = metrics.mean(values), metrics.mean_stderr(values)
    return dict(out, questions=questions)


def read_answers(path):
    """The questions of a golden file by task; none where there is no file."""
    return {k: v["questions"] for k, v in json.loads(path.read_text())["tasks"].items()} if path.exists() else {}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("model")
    p.add_argument("name")
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--fields", action="store_true", help="DATA has NAME.jsonl of each task, with the data set's fields")
    p.add_argument("--samples", type=pathlib.Path, help="folder for the sample logs of the last run")
    p.add_argument("--limit", type=int, default=200)
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--part", type=int, default=50, help="questions after which the golden files are written anew")
    a = p.parse_args()
    names = a.tasks.split(",")
    done = {state: read_answers(a.out / f"{a.name}-bos-{state}.json") for state in ("off", "on")}
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        counts = write_tasks(folder, a.data, names, a.fields)
        manager = TaskManager(include_path=str(folder))
        model = HFLM(pretrained=a.model, device="cpu", dtype="float32", batch_size=a.batch)
        bos, backend = model.tokenizer.bos_token, model.tokenizer.backend_tokenizer
        own = backend.post_processor
        template = TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, model.tokenizer.bos_token_id)])
        for first in range(0, a.limit, a.part):
            for state in ("off", "on"):
                model.add_bos_token = state == "on"
                backend.post_processor = template if state == "on" else own
                assert (model.tok_encode("a")[0] == model.tokenizer.bos_token_id) == (state == "on")
                for name in names:
                    answers = done[state].setdefault(name, [])
                    numbers = list(range(max(first, len(answers)), min(first + a.part, a.limit, counts[name])))
                    if numbers:
                        samples = a.samples / f"samples_{name}.jsonl" if a.samples else None
                        answers += evaluate(model, manager, name, numbers, samples)
            for state, tasks in done.items():
                head = {"model": a.name, "bos": state, "lm_eval": lm_eval.__version__, "torch": torch.__version__}
                text = json.dumps(head)[:-1] + ', "tasks": {\n'
                text += ",\n".join(json.dumps(k) + ": " + json.dumps(figures(v), separators=(",", ":")) for k, v in tasks.items()) + "\n}}\n"
                (a.out / f"{a.name}-bos-{state}.json").write_text(text)


if __name__ == "__main__":
    main()
