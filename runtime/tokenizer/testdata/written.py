"""Holds the tokenizer.json that mop writes to the golden ids, in the tokenizers
library:

    go test -run 'TestWriteJSON$' . -written /tmp/w && python testdata/written.py /tmp/w
    python testdata/written.py testdata      (written.json, of fallback.bin)
"""

import json
import os
import sys

import tokenizers

golden = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json")))
bad = seen = 0
for entry in golden["tokenizers"]:
    for name in (entry["file"].replace("/", "_") + ".json", "written.json" if entry["file"] == "fallback.bin" else ""):
        path = os.path.join(sys.argv[1], name)
        if not name or not os.path.isfile(path):
            continue
        t = tokenizers.Tokenizer.from_file(path)
        for text, want in zip(golden["texts"], entry["encoded"][0]["ids"]):
            t.encode_special_tokens = True
            got = t.encode(text, add_special_tokens=False).ids
            seen += 1
            if got != want:
                bad += 1
                print(name, repr(text), want, got)
        for ids in (d["ids"] for d in entry["decoded"]):
            t.decode(ids)
        bos = t.encode("", add_special_tokens=True).ids
        print(name, "begins a text with", bos)
print(seen, "texts,", bad, "differ, tokenizers", tokenizers.__version__)
sys.exit(bad > 0 or seen == 0)
