"""Write the texts of make demo-smollm2 from Isaac Newton's Opticks (1730), which is in the public domain.

    python bench/demo/opticks/opticks.py OPTICKS bench/demo/opticks

OPTICKS is the plain text that the Go distribution has at src/testdata/Isaac.Newton-Opticks.txt.
Paragraphs are unwrapped; those with figures, tables, notes or marks of emphasis left
alone are dropped. Documents of about 1200 characters are cut from consecutive
paragraphs: the last ones of the book are for evaluation, those before for the criterion.
The prompts of the calibration are the beginnings of documents.
"""
import json
import re
import sys

SIZE, EVALUATION, WINDOWS, TRAINING, PROMPT = 1200, 10, 16, 140, 600


def paragraphs(text):
    for p in re.split(r"\n\s*\n", text):
        p = re.sub(r"\s+", " ", p.replace("_", "")).strip()
        if len(p) > 200 and not re.search(r"[\[\]|{}*=+]|\d[^.,;: )]*/\d|Illustration|pgdp", p):
            yield p


def documents(text):
    out, size = [], 0
    for p in paragraphs(text):
        out.append(p)
        size += len(p)
        if size >= SIZE:
            yield "\n".join(out)
            out, size = [], 0


def main(source, out):
    with open(source, encoding="utf-8", errors="strict") as f:
        docs = list(documents(f.read()))
    print(len(docs), "documents")
    training, windows, evaluation = docs[:TRAINING], docs[-EVALUATION - WINDOWS:-EVALUATION], docs[-EVALUATION:]
    assert len(docs) >= TRAINING + WINDOWS + EVALUATION
    with open(out + "/calibration.jsonl", "w") as f:
        for d in training[::5]:
            f.write(json.dumps({"text": d[:d.rindex(" ", 0, PROMPT)]}, ensure_ascii=False) + "\n")
    for name, some in ("recovery", training), ("windows", windows), ("evaluation", evaluation):
        with open(f"{out}/{name}.txt", "w") as f:
            f.write("\n<|endoftext|>\n".join(some) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
