"""Makes the golden fine-tuning examples of this directory, with transformers.

    python examples.py

writes, with the tokenizer.json beside it,

    data.json      rows in Alpaca's form, long and short, some of them bad
    examples.json  their tokens and first targets by the recipe of the released runs,
                   at most 175 tokens each
"""

import json
import pathlib
import random

from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
LENGTH = 175


def rows():
    r = random.Random(5)
    words = "Mia Max the red old ring shelf goat found took gave under behind happy and to it was eggs seven".split()
    text = lambda lo, hi: " ".join(r.choice(words) for _ in range(r.randint(lo, hi))) + "."
    out = []
    for i in range(22):
        row = {"instruction": "Say what " + text(1, 6), "input": text(2, 8) if i % 3 == 0 else "", "output": text(2, 14)}
        if i == 7:
            row["output"] = text(70, 80)  # loses its EOS
        if i == 9:
            del row["input"]
        out.append(row)
    out.insert(3, {"instruction": "Nothing comes of this.", "input": "", "output": " "})
    out.insert(8, {"instruction": text(120, 130), "input": "", "output": "The prompt takes all."})
    out.insert(15, {"instruction": 7, "input": "", "output": "No text."})
    out.insert(20, {"input": "", "output": "No instruction."})
    return out


def prompt(row):
    if row.get("input"):
        return ("Below is an instruction that describes a task, paired with an input that provides further context. "
                "Write a response that appropriately completes the request.\n\n"
                f"### Instruction:\n{row['instruction']}\n\n### Input:\n{row['input']}\n\n### Response:\n")
    return ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
            f"### Instruction:\n{row['instruction']}\n\n### Response:\n")


def examples(tok, data, length):
    out = []
    for n, row in enumerate(data):
        if not isinstance(row.get("instruction"), str) or not row["output"].strip():
            continue
        p = tok(prompt(row))["input_ids"][:length]
        a = tok(row["output"])["input_ids"][:length]
        assert p[0] == a[0] == 1
        if len(a) < length:
            a.append(2)
        ids = (p + a)[:length]
        if len(ids) > len(p):
            out.append({"row": n + 1, "tokens": ids, "firstTarget": len(p)})
    return out


def main():
    tok = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "tokenizer.json"))
    data = rows()
    (HERE / "data.json").write_text(json.dumps(data, indent=1) + "\n")
    ex = examples(tok, data, LENGTH)
    (HERE / "examples.json").write_text(json.dumps(ex) + "\n")
    assert len(ex) == 22 and any(len(e["tokens"]) == LENGTH and e["tokens"][-1] != 2 for e in ex)


if __name__ == "__main__":
    main()
