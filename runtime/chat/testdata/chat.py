"""Renders conversations with transformers' apply_chat_template.

    python chat.py > golden.json      # transformers 4.57.6, jinja2 3.1.6

The templates are those of templates/ (written for this test: each uses constructs of the
templates that released models bring along) and the built-in ones, whose sources
`go test ./runtime/chat -run TestGolden -update-sources` writes to builtin.json.
"""
import glob, json, os
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
U = lambda t: {"role": "user", "content": t}
A = lambda t: {"role": "assistant", "content": t}
S = lambda t: {"role": "system", "content": t}
CONVERSATIONS = [
    [U("Hi")],
    [S("Be brief."), U("  Hi there \n")],
    [U("Hi"), A("Hello")],
    [U("Hi"), A(" Hello "), U("How {{ are }} you?"), A("Fine 'thanks' \\n \"x\""), U("é 世界 🦙")],
    [S(""), U("a\nb\n\nc"), A(""), U("%} }} {% x"), A("ok")],
    [A("first")],
    [U("a"), U("b")],
    [S("x"), S("y"), U("z")],
]
names = sorted(glob.glob(HERE + "/templates/*.jinja"))
sources = {os.path.basename(n)[:-6]: open(n, newline="").read() for n in names}
builtin = json.load(open(HERE + "/builtin.json"))
sources.update(builtin)
out = []
for name, source in sources.items():
    t = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
    t.chat_template = source
    for i, c in enumerate(CONVERSATIONS):
        for prompt in (False, True):
            try:
                text = t.apply_chat_template(c, tokenize=False, add_generation_prompt=prompt)
            except Exception as e:
                text = None
            out.append({"template": name, "conversation": i, "prompt": prompt, "text": text})
json.dump({"conversations": CONVERSATIONS, "cases": out}, __import__("sys").stdout, indent=1)
