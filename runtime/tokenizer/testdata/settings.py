"""Writes settings.json: the ids that transformers' AutoTokenizer gives for small
tokenizers with different files beside them.

    python settings.py

It needs transformers 4.57, tokenizers and sentencepiece.
"""

import json
import os
import shutil
import tempfile

import transformers
from transformers import AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["hello", " hello", "the cat sat", "<s>hello</s> the cat", "<|im_start|>the\ncat<|im_end|>the", "<|im_start|> the <|im_end|>", "a<|im_end|><s> b", "  the"]
BASE = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def at(text, special):
    return {"content": text, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": special}


def size(file):
    if file.endswith(".json"):
        j = json.load(open(os.path.join(HERE, file), encoding="utf-8"))
        return max(list(j["model"]["vocab"].values()) + [a["id"] for a in j["added_tokens"]]) + 1
    import sentencepiece
    return sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, file)).vocab_size()


def main():
    cases = []
    for file in ("legacy.json", "fallback.model"):
        n = size(file)
        decoder = {"added_tokens_decoder": {"0": at("<unk>", True), "1": at("<s>", True), "2": at("</s>", True), str(n): at("<|im_start|>", False), str(n + 1): at("<|im_end|>", True)}}
        plain = [{}, {"add_bos_token": False}, {"add_bos_token": True, "add_eos_token": True}, {"add_bos_token": False, "add_eos_token": True}, dict(decoder, eos_token="<|im_end|>"), dict(decoder, add_bos_token=False)]
        if file.endswith(".model"):
            plain += [{"legacy": True}, {"legacy": False}, {"add_prefix_space": False}, {"legacy": False, "add_prefix_space": True}, {"legacy": False, "add_prefix_space": False}, dict(decoder, legacy=False)]
        for cls in ("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast"):
            if cls == "PreTrainedTokenizerFast" and file.endswith(".model"):
                continue
            ends = lambda first, last: {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                                        "single": [{"SpecialToken": {"id": t, "type_id": 0}} if t else {"Sequence": {"id": "A", "type_id": 0}} for t in (first, None, last) if t != ""],
                                        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for i, t in ((1, "<s>"), (2, "</s>"))}}
            posts = [None] if file.endswith(".model") else [None, ends("<s>", "</s>"), ends("", "</s>")]
            for more, post in [(m, p) for p in posts for m in (plain if p is None else plain[:4])]:
                config = dict(BASE, tokenizer_class=cls, **{k: v for k, v in more.items() if k != "eos_token"})
                config["eos_token"] = more.get("eos_token", "</s>")
                cases.append({"file": file, "files": {"tokenizer_config.json": config}} | ({"post_processor": post} if post else {}))
    for c in cases:
        with tempfile.TemporaryDirectory() as d:
            copy = shutil.copy(os.path.join(HERE, c["file"]), os.path.join(d, "tokenizer" + os.path.splitext(c["file"])[1]))
            if "post_processor" in c:
                j = json.load(open(copy, encoding="utf-8"))
                json.dump(dict(j, post_processor=c["post_processor"]), open(copy, "w"))
            for name, content in c["files"].items():
                json.dump(content, open(os.path.join(d, name), "w"))
            t = AutoTokenizer.from_pretrained(d)
            c["ids"] = [t(x)["input_ids"] for x in TEXTS]
            c["bos"], c["eos"] = t.bos_token_id, t.eos_token_id
    dump = lambda x: json.dumps(x, ensure_ascii=True, separators=(",", ":"))
    with open(os.path.join(HERE, "settings.json"), "w") as f:
        f.write('{"made by":"settings.py","transformers":%s,\n"texts":%s,\n"cases":[\n' % (dump(transformers.__version__), dump(TEXTS)))
        f.write(",\n".join(map(dump, cases)) + "]}\n")


main()
