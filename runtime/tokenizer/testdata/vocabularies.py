"""Trains the tiny tokenizers of this folder: python vocabularies.py

Made with sentencepiece 0.2.3 and tokenizers 0.23.3. The text is below.
"""

import base64
import io
import json
import os
import struct

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = """The miller's cat sat on the mill wall and watched the water turn the wheel.
There were 12 sacks of flour, 345 loaves and 6789 crumbs; the baker counted them twice.
"They're mine," said the baker. "I'll weigh them, I've a scale, and I'd say it isn't wrong."
for i in range(10): print(i, i * i); return {"total": sum(i for i in range(10))}
Le café était fermé, naïve façade, über straße, niño, smörgåsbord, Ελλάδα, Москва, 日本語の文章, שלום, مرحبا.
    indented    text	with tabs  and   runs     of spaces
"""
LINES = [line for line in TEXT.split("\n") if line] * 4
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def put(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def piece_model(name, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=out, model_type="bpe", character_coverage=0.98,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    put(name, out.getvalue())
    return out.getvalue()


def spelled(model):
    """The same vocabulary in llama2.c's form."""
    m = sentencepiece_model_pb2.ModelProto()
    m.ParseFromString(model)
    pieces = [p.piece.replace("▁", " ") for p in m.pieces]
    pieces[1], pieces[2] = "\n<s>\n", "\n</s>\n"
    pieces = [p.encode() for p in pieces]
    out = struct.pack("<i", max(map(len, pieces)))
    for p, q in zip(pieces, m.pieces):
        out += struct.pack("<fi", q.score, len(p)) + p
    return out


def save(name, t):
    put(name, (json.dumps(json.loads(t.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n").encode())


def characters():
    """Words are merged apart in training; merging at run time is over the whole text."""
    plain = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    words = [w for line in LINES for w in ("▁" + line.replace(" ", " ▁")).split(" ")]
    plain.train_from_iterator(words, trainers.BpeTrainer(vocab_size=480, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, show_progress=False))
    return json.loads(plain.to_str())["model"]


def llama(model, normalizer=None, pre=None, decoder=None, fallback=True):
    t = Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": dict(model, byte_fallback=fallback)}))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.decoder = decoder or decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def flags(t):
    t.add_special_tokens([AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False)])
    t.add_tokens([AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=False),
                  AddedToken("the wheel", normalized=True), AddedToken(" <gap>", normalized=True), AddedToken("<le", normalized=False)])
    return t


def byte_level(vocab_size, pre, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def main():
    fallback = piece_model("fallback.model", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                           remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True)
    put("fallback.bin", spelled(fallback))
    os.chdir(HERE)  # the model keeps the name that it is given
    rules = "rules.tsv"
    put("rules.tsv", b"C0\t41\nE9\t65\n41 301\t41\n9\t20\nA\t20\n3000\t20\n2460\t31 20 31\nAD\t\nFB01\t66 69\n")
    piece_model("mapped.model", vocab_size=160, byte_fallback=False, normalization_rule_tsv=rules, user_defined_symbols=["<tag>", "é!", "▁▁"], control_symbols=["<ctl>"])
    os.remove(rules)

    model = characters()
    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    save("legacy.json", flags(llama(model, normalizer=legacy)))
    save("first.json", flags(llama(model, pre=pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False))))
    some = dict(model, vocab={k: v for k, v in model["vocab"].items() if not k.startswith("<0x")})
    ids = sorted(some["vocab"].values())
    some["vocab"] = {k: ids.index(v) for k, v in some["vocab"].items()}
    save("always.json", llama(some, pre=pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True), decoder=decoders.Metaspace("▁", prepend_scheme="always", split=True), fallback=False))

    three = byte_level(420, pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), ignore_merges=True)
    three.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = three.token_to_id("<|begin_of_text|>")
    three.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)])])
    save("bytelevel.json", three)
    save("prefixed.json", byte_level(400, pre_tokenizers.ByteLevel(add_prefix_space=True)))

    # tiktoken's form needs a rank for each byte, and ranks in the order of merges.
    j = json.loads(three.to_str())["model"]
    alphabet = {}
    shown = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = [b for b in range(256) if b not in shown]
    alphabet.update({chr(b): b for b in shown})
    alphabet.update({chr(256 + i): b for i, b in enumerate(hidden)})
    raw = lambda s: bytes(alphabet[c] for c in s)
    ranks = [bytes([b]) for b in range(256)] + list(dict.fromkeys(raw("".join(m)) for m in j["merges"]))
    put("tiktoken.model", b"".join(base64.b64encode(p) + b" %d\n" % i for i, p in enumerate(ranks)))


main()
