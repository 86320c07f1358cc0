"""Makes wikitext.json: the perplexities of lm-evaluation-harness's task wikitext.

    python wikitext.py SHARED_DATA DEMO_MODEL SMOLLM2

The harness cleans, scores and counts; only the pages come from files here, cut at the
headings of the first level as in the data set that it reads (62 pages for WikiText-2's
test part). "bytes" says how much of the file was used, from its beginning.

Made with lm_eval 0.4.13, transformers 4.57.6, torch 2.15.0, Python 3.11.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import lm_eval
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

HERE = pathlib.Path(__file__).parent


def pages_of(text):
    pages, page = [], []
    for line in text.split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            pages.append("\n".join(page))
            page = []
        page.append(line)
    return [p for p in pages + ["\n".join(page)] if p.strip()]


def measure(model, text, max_length):
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        pages = pages_of(text)
        (folder / "pages.jsonl").write_text("".join(json.dumps({"page": p}) + "\n" for p in pages))
        own = pathlib.Path(lm_eval.__file__).parent / "tasks/wikitext/wikitext.yaml"
        (folder / "t.yaml").write_text(f"include: {own}\ntask: pages\ndataset_path: json\ndataset_name: null\ntraining_split: null\nvalidation_split: null\n"
                                       f"dataset_kwargs:\n  data_files:\n    test: {folder / 'pages.jsonl'}\n")
        lm = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=1, max_length=max_length)
        r = lm_eval.simple_evaluate(model=lm, tasks=["pages"], bootstrap_iters=0, task_manager=TaskManager(include_path=tmp))["results"]["pages"]
        return {"pages": len(pages), **{k: r[f"{k},none"] for k in ("word_perplexity", "byte_perplexity", "bits_per_byte")}}


def main():
    data, demo, smollm2 = sys.argv[1:]
    own = (HERE / "pages.raw").read_text(encoding="utf-8")
    wiki = (pathlib.Path(data) / "wikitext-2-raw-v1/wiki.test.raw").read_text(encoding="utf-8")
    cases = []
    for name, model, file, text, pages, length in [("demo", demo, "pages.raw", own, 2, 512), ("demo", demo, "pages.raw", own, 2, 60), ("demo", demo, "wiki.test.raw", wiki, 2, 512),
                                                   ("smollm2", smollm2, "wiki.test.raw", wiki, 1, 512)]:
        part = "\n".join(pages_of(text)[:pages])
        end = text.index(part) + len(part)
        case = {"model": name, "file": file, "bytes": len(text[:end].encode()), "context": length, **measure(model, part, length)}
        print(case, flush=True)
        cases.append(case)
        head = {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "torch": torch.__version__, "cases": cases}
        (HERE / "wikitext.json").write_text(json.dumps(head, indent=1) + "\n")


main()
