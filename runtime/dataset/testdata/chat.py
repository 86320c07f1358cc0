"""Makes the golden examples of conversations, with transformers 4.57.6.

    python chat.py

writes chat.jsonl (messages, ShareGPT's conversations, prompts with completions) and
chat.json: the tokens of each row, and 1 for those with a label. For conversations they
are apply_chat_template(..., return_assistant_tokens_mask=True); the template's generation
blocks hold what the assistant writes. A prompt and its completion are tokenized as one
text, and the tokens that the prompt alone has too are no labels.
"""
import json, pathlib
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TEMPLATE = ("{{ bos_token }}{% for m in messages %}{{ m.role + ':\n' }}"
            "{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}"
            "{% else %}{{ m.content + '\n' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}")
ROWS = [
    {"messages": [{"role": "user", "content": "Say what Max found."}, {"role": "assistant", "content": "Max found the red ring."}]},
    {"conversations": [{"from": "system", "value": "Be happy."}, {"from": "human", "value": "What was under the shelf?"}, {"from": "gpt", "value": "Seven eggs."},
                       {"from": "human", "value": "And behind it?"}, {"from": "gpt", "value": "The old goat \n"}, {"from": "human", "value": "Fine."}]},
    {"messages": [{"role": "assistant", "content": "Mia took it."}, {"role": "user", "content": [{"type": "text", "text": "Who?"}]}, {"role": "assistant", "content": "Mia."}]},
    {"prompt": "Mia found the", "completion": " red ring."},
    {"prompt": "Mia found the red ri", "completion": "ng and the goat."},
    {"prompt": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Max."}, {"role": "user", "content": "Who else?"}],
     "completion": [{"role": "assistant", "content": "Mia."}]},
]
tok = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "tokenizer.json"), bos_token="<s>", eos_token="</s>")
out = []
for row in ROWS:
    if isinstance(row.get("prompt"), str):
        a = tok(row["prompt"])["input_ids"]
        b = tok(row["prompt"] + row["completion"])["input_ids"] + [2]
        n = 0
        while n < len(a) and a[n] == b[n]:
            n += 1
        out.append({"tokens": b, "labels": [0] * n + [1] * (len(b) - n)})
        continue
    m = row.get("messages") or row.get("conversations") or row["prompt"] + row["completion"]
    m = [{"role": {"human": "user", "gpt": "assistant", "system": "system"}[x["from"]], "content": x["value"]} if "from" in x else
         {"role": x["role"], "content": x["content"] if isinstance(x["content"], str) else x["content"][0]["text"]} for x in m]
    while m[-1]["role"] != "assistant":  # nothing is learned from what follows
        m.pop()
    e = tok.apply_chat_template(m, chat_template=TEMPLATE, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    labels = e["assistant_masks"]
    if "prompt" in row:  # the loss is on the completion alone
        n = len(tok.apply_chat_template(m[:-1], chat_template=TEMPLATE, tokenize=True, add_generation_prompt=True))
        labels = [0] * n + labels[n:]
    out.append({"tokens": e["input_ids"], "labels": labels})
(HERE / "chat.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
(HERE / "chat.json").write_text(json.dumps({"template": TEMPLATE, "examples": out}) + "\n")
