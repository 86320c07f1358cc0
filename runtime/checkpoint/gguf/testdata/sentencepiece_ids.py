"""Writes sentencepiece_ids.json: the ids that sentencepiece gives with tokenizer.model files
that mop wrote, and their checksums.

    go test -run TestSentencePieceModel . -sentencepiece /tmp/sp
    python testdata/sentencepiece_ids.py /tmp/sp > testdata/sentencepiece_ids.json

It ends with 1 where the tokenizers library gives other ids with the tokenizer.json from
which a model was made.
"""

import glob
import hashlib
import json
import os
import random
import sys

import sentencepiece
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
texts = json.load(open(os.path.join(HERE, "../../../tokenizer/testdata/golden.json")))["texts"]
more = random.Random(1)
more = ["".join(more.choice("abcdefghij ABC  the and 12,.!?\n\té漢😀▁") for _ in range(more.randrange(40))) for _ in range(2000)]
out, bad = [], 0
for path in sorted(glob.glob(sys.argv[1] + "/*.model")):
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    peer = tokenizers.Tokenizer.from_file(path.removesuffix(".model") + ".json")
    peer.encode_special_tokens = True
    bad += sum(model.encode(x) != peer.encode(x, add_special_tokens=False).ids for x in texts + more)
    out.append({"name": os.path.basename(path), "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
                "special": [model.unk_id(), model.bos_id(), model.eos_id()], "ids": [model.encode(x) for x in texts]})
print(json.dumps({"versions": {"sentencepiece": sentencepiece.__version__, "tokenizers": tokenizers.__version__},
                  "compared_with_tokenizers": {"texts": len(texts + more), "different": bad}, "texts": texts, "models": out}, ensure_ascii=False))
sys.exit(bad > 0 or not out)
