"""Write smollm2.json: what transformers and tokenizers make of out/smollm2.

    make smollm2
    python -m venv venv && venv/bin/pip install transformers==4.57.6 torch tokenizers
    venv/bin/python cmd/mop/testdata/smollm2.py out/smollm2 wiki.test.raw cmd/mop/testdata/smollm2.json

Of a text's logits the file holds the largest one and every 1024th at each position. The
perplexities are of the first tokens of WikiText-2's test part, with the loss that
transformers computes of each window.
"""
import json
import random
import sys

import tokenizers
import torch
import transformers

TEXTS = [
    "The quick brown fox jumps over the lazy dog. In 1984, Paris had 2,176,243 inhabitants.",
    "def add(a, b):\n    return a + b  # 12 + 30 == 42\n",
    "<|im_start|>user\nWhat is 7 x 8?<|im_end|>\n<|im_start|>assistant\n",
]


def random_texts(count):
    """Words, digits, white space and characters of many scripts, in any order."""
    rng = random.Random(13)
    parts = ["the", " and", "don't", " I'll", "1", "23", "4567", " 8", "\u0663", "\u00bd", "\u2168", " ", "  ", "\n", "\n\n", "\t", "\r\n",
             ".", "...", "?!", "-", "_", "\u00e9", "e\u0301", "\u00df", "\u4e2d\u6587", "\u3042", "\ud55c", "\u0645\u0631", "\U0001f600", "\u200d", "\u00a0", "\ufeff", "\u0000"]
    return ["".join(rng.choice(parts) for _ in range(rng.randint(1, 30))) for _ in range(count)]


def perplexity(model, ids, context, stride):
    """exp of the mean loss: a window scores what no earlier one scored, its first token never."""
    total, scored, end = 0.0, 0, 0
    for start in range(0, len(ids), stride):
        window = torch.tensor([ids[start:start + context]])
        labels = window.clone()
        labels[:, :end - start] = -100
        n = (labels[:, 1:] != -100).sum().item()
        with torch.no_grad():
            total += model(window, labels=labels).loss.item() * n
        scored, end = scored + n, start + window.shape[1]
        if end == len(ids):
            break
    return {"context": context, "stride": stride, "tokens": len(ids), "scored": scored, "perplexity": float(torch.tensor(total / scored).exp())}


def main(directory, wiki, out):
    tokenizer = tokenizers.Tokenizer.from_file(directory + "/tokenizer.json")
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    logits = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        with torch.no_grad():
            rows = model(torch.tensor([ids])).logits[0]
        logits.append({"ids": ids, "argmax": rows.argmax(-1).tolist(), "largest": rows.amax(-1).tolist(), "every_1024th": rows[:, ::1024].tolist()})
    with open(wiki, encoding="utf-8") as f:
        ids = tokenizer.encode(f.read()).ids
    perplexities = [perplexity(model, ids[:tokens], context, stride) for context, stride, tokens in ((512, 512, 4096), (256, 256, 1000), (512, 256, 2048))]
    texts = TEXTS[:2] + random_texts(200)
    with open(out, "w") as f:
        json.dump({"made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, tokenizers {tokenizers.__version__}: smollm2.py",
                   "logits": logits, "perplexities": perplexities, "texts": [{"text": t, "ids": tokenizer.encode(t).ids} for t in texts]}, f)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
