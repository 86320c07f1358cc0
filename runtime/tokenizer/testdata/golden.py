"""Writes golden.json: what sentencepiece, tokenizers, transformers and tiktoken
make of a set of difficult texts.

    python golden.py DATA

DATA is the folder of shared test data. Texts from there are named by file,
offset and length, and not repeated here. Versions are in the header of
golden.json.
"""

import base64
import hashlib
import json
import os
import random
import struct
import sys

import sentencepiece
import tiktoken
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = sys.argv[1]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RANDOM = random.Random(20)


def difficult():
    t = ["", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r\n\r\n", " \n", "\n ", " \n \n  x", "\t\t x", "a", " a", "a ", "  a  ", "a  b", "a   b\n",
         "Hello world", " Hello World!", "Hello, y'all! How are you 😁 ?", "hello\nworld\n", "tab\tand\ttab", "x\r\ny\rz\n", "end with space \n",
         "can't don't I'll we've you're it's I'm he'd", "CAN'T DON'T I'LL WE'VE YOU'RE IT'S I'M HE'D", "'s 't 're", "'S's 'Sam 'tis'", "it'\u017f a'\u017fb ''s '",
         "0 1 12 123 1234 12345 123456 1234567 3.14159 1e-10 ٣٤٥ ⅷ ½ ²", "a1b22c333d4444", "1a 2b  3c",
         "👨‍👩‍👧‍👦 family 👩🏽‍🚀🏳️‍🌈 flags 🇩🇪🇯🇵", "e\u0301 n\u0303 a\u030a\u0323 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢", "café naïve über straße ﬁ Å À A\u0300",
         "مرحبا بالعالم كيف حالك؟", "שלום עולם", "你好，世界！今天天气很好。", "日本語の文章です。カタカナ", "한국어 문장입니다", "Привет, мир! Ещё", "नमस्ते दुनिया", "ไทย ภาษา", "សូម",
         "\u00a0nbsp\u00a0\u2003em\u3000ideographic\u200bzero\u200d\ufeffbom", "\u0085next\u2028line\u2029par", "\x1c\x1d\x1e\x1f\x0b\x0c", "▁ ▁▁ a▁b▁", "▁", "_a_ __b__", "① \u00ad soft\u00adhyphen",
         "a" * 500, "ab" * 200, " " * 100, "a" + " " * 33 + "b", "\n" * 70, "=" * 130, "-" * 65 + "\n", "!?" * 40, "😀" * 30, "7" * 100, "\t" * 40, " a" * 60, "\n " * 20, "é" * 50,
         "<s>", "</s>", "<unk>", "<s>hello</s>", "a <s> b</s> c", "<s> x", "<pad>", "<image>\nWhat is this?", "text<image> more", "<0x0A>", "<0x41>x", "<|begin_of_text|>", "<|eot_id|>",
         "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|reserved_special_token_17|>x<|reserved_special", "<|end_of_text|> <|", "<tag>x <tag> é! e\u0301!", "<ctl>",
         "  <left>  x", "x  <left>y", "x<right>  \n y", "x <both> y <both><both>  <left>", "word words sword word. (word) word_ wordé", "see the wheel <gap> turn the  wheel", " <left> <le <left", "the wheel", "<gap>", "<right> <right> <gap>",
         "a\x00b", "\x00", "\x00\x00 \x00", "\x7f\x80\x9f\xa0\xad\xff", "\ufffd", "a\ufffdb", "\U0010ffff\ue000\ufffe",
         "def f(x):\n    return {'a': [x ** 2, 0x1F], \"b\": not x}\n\n\n# comment\n\tpass", "for(int i=0;i<n;++i){a[i]+=b[i]*c[i];}//x", "https://example.org/a?b=c&d=%20#e", "a@b.cd, C:\\dir\\f.txt", "$x^2 + \\frac{1}{2}$", "the  quick   brown    fox     jumps      over",
         "The miller's cat sat on the mill wall", "I'll weigh them, I've a scale"]
    for n in (1, 7, 60, 200):
        t.append(bytes(RANDOM.randrange(256) for _ in range(n)).decode("latin-1"))
    for n in (5, 40, 150):
        t.append("".join(chr(RANDOM.choice([RANDOM.randrange(0xd800), RANDOM.randrange(0xe000, 0x20000), RANDOM.randrange(128)])) for _ in range(n)))
    alphabet = [" ", " ", "\n", "\r", "\t", "a", "B", "é", "'", "s", "1", "9", ".", "!", "\u00a0", "😁", "日", "\u0301", "'ll", "▁"]
    t += ["".join(RANDOM.choice(alphabet) for _ in range(n)) for n in (5, 10, 20, 40, 80, 160)]
    here = open(os.path.join(HERE, "golden.py"), encoding="utf-8").read()
    return t + [here[at:at + 300] for at in (0, 900)]


def elsewhere():
    """Slices of long texts, cut where characters begin."""
    out = []
    for name, sizes in (("wikitext-2/wiki.test.raw", (2000, 500, 300, 300, 300, 20000)), ("tinyshakespeare/input.txt", (500, 3000)), ("tinystories/tinystories_sample_2M.txt", (1000, 3000))):
        data = open(os.path.join(DATA, name), "rb").read()
        for n in sizes:
            at = RANDOM.randrange(len(data) - n)
            while data[at] & 0xc0 == 0x80:
                at += 1
            while data[at + n] & 0xc0 == 0x80:
                n += 1
            out.append((name, at, n, data[at:at + n].decode()))
    return out


class Piece:
    peer = "sentencepiece"
    specials = (False,)

    def __init__(self, data):
        self.t = sentencepiece.SentencePieceProcessor(model_proto=data)
        self.size = self.t.vocab_size()
        self.plain = [i for i in range(self.size) if not (self.t.is_control(i) or self.t.is_byte(i) or self.t.is_unused(i))]

    def encode(self, text, special):
        return self.t.encode(text)

    def decode(self, ids):
        return self.t.decode(ids).encode()


class Spelled(Piece):
    """A tokenizer.bin, by way of the SentencePiece model that it was made from."""

    def __init__(self, data):
        m = sentencepiece_model_pb2.ModelProto()
        at, byte = 4, False
        while at < len(data):
            score, n = struct.unpack("<fi", data[at:at + 8])
            text = data[at + 8:at + 8 + n].decode().strip("\n").replace(" ", "▁")
            i = len(m.pieces)
            kind = 2 if i == 0 else 3 if i < 3 else 6 if text.startswith("<0x") else 1
            byte = byte or kind == 6
            m.pieces.add(piece=text, score=score, type=kind)
            at += 8 + n
        m.trainer_spec.model_type, m.trainer_spec.byte_fallback, m.trainer_spec.vocab_size = 2, byte, len(m.pieces)
        m.normalizer_spec.name, m.normalizer_spec.add_dummy_prefix = "identity", True
        m.normalizer_spec.remove_extra_whitespaces, m.normalizer_spec.escape_whitespaces = False, True
        super().__init__(m.SerializeToString())
        self.plain = [i for i in self.plain if i != 0]


class Fast:
    peer = "tokenizers"
    specials = (False, True)

    def __init__(self, path):
        self.t = tokenizers.Tokenizer.from_file(path)
        special = {a["id"] for a in json.load(open(path))["added_tokens"] if a["special"]}
        self.plain = [i for v, i in self.t.get_vocab().items() if i not in special and not v.startswith("<0x")]

    def encode(self, text, special):
        self.t.encode_special_tokens = not special
        return self.t.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.t.decode(ids, skip_special_tokens=True).encode()


class Auto(Fast):
    """transformers' reading of the tokenizer.json itself. (Its class LlamaTokenizer
    takes the file's vocabulary only, and where "legacy" is false a pre-tokenizer of
    its own, which makes one space of two in front of a text.)"""

    peer = "transformers"

    def __init__(self, path):
        super().__init__(path)
        self.auto = transformers.PreTrainedTokenizerFast(tokenizer_file=path)

    def encode(self, text, special):
        return self.auto.encode(text, add_special_tokens=False, split_special_tokens=not special)


class Ranks:
    peer = "tiktoken"
    specials = (False, True)

    def __init__(self, path):
        ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in open(path, "rb"))}
        names = ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(4)]
        names += ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
        names += [f"<|reserved_special_token_{i}|>" for i in range(5, 251)]
        self.t = tiktoken.Encoding("llama3", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={n: len(ranks) + i for i, n in enumerate(names)})
        self.plain = list(range(len(ranks)))

    def encode(self, text, special):
        return self.t.encode(text, allowed_special="all" if special else set(), disallowed_special=())

    def decode(self, ids):
        return self.t.decode_bytes(ids)


def digest(ids):
    return {"ids": len(ids), "sha256": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()}


def main():
    read = lambda path: open(path, "rb").read()
    texts, refs = difficult(), elsewhere()
    tiny = lambda name: os.path.join(HERE, name)
    shared = lambda name: os.path.join(DATA, name)
    subjects = [(name, False, make) for name, make in (
        ("fallback.model", lambda: Piece(read(tiny("fallback.model")))), ("mapped.model", lambda: Piece(read(tiny("mapped.model")))),
        ("fallback.bin", lambda: Spelled(read(tiny("fallback.bin")))), ("legacy.json", lambda: Fast(tiny("legacy.json"))),
        ("first.json", lambda: Fast(tiny("first.json"))), ("always.json", lambda: Fast(tiny("always.json"))),
        ("bytelevel.json", lambda: Fast(tiny("bytelevel.json"))), ("prefixed.json", lambda: Fast(tiny("prefixed.json"))),
        ("tiktoken.model", lambda: Ranks(tiny("tiktoken.model"))))]
    subjects += [(name, True, make) for name, make in (
        ("tokenizer-llama2/tokenizer.model", lambda: Piece(read(shared("tokenizer-llama2/tokenizer.model")))),
        ("babyllama-tok105/tok105.model", lambda: Piece(read(shared("babyllama-tok105/tok105.model")))),
        ("stories260K/tok512.bin", lambda: Spelled(read(shared("stories260K/tok512.bin")))),
        ("aidreams260K/tok512.bin", lambda: Spelled(read(shared("aidreams260K/tok512.bin")))),
        ("hf-tinyllama-1.1b-chat/tokenizer.json", lambda: Auto(shared("hf-tinyllama-1.1b-chat/tokenizer.json"))),
        ("hf-llava-1.5-7b-hf/tokenizer.json", lambda: Fast(shared("hf-llava-1.5-7b-hf/tokenizer.json"))),
        ("tokenizer-llama3/tokenizer.model", lambda: Ranks(shared("tokenizer-llama3/tokenizer.model"))))]
    out = []
    for name, is_shared, make in subjects:
        p = make()
        entry = {"file": name, "shared": is_shared, "peer": p.peer, "encoded": [], "decoded": []}
        for special in p.specials:
            # Where the two agree the second says nothing.
            ids = [p.encode(t, special) for t in texts]
            if special:
                ids = [None if a == b else b for a, b in zip(entry["encoded"][0]["ids"], ids)]
            entry["encoded"].append({"special": special, "ids": ids})
        if is_shared:
            entry["slices"] = [digest(p.encode(t, False)) for _, _, _, t in refs[:6 if "tok105" in name else len(refs)]]
        for n in (1, 2, 3, 5, 8, 13, 20, 30):
            for _ in range(3):
                ids = [RANDOM.choice(p.plain) for _ in range(n)]
                entry["decoded"].append({"ids": ids, "bytes": base64.b64encode(p.decode(ids)).decode()})
        out.append(entry)
    header = {"made by": "golden.py", "sentencepiece": sentencepiece.__version__, "tokenizers": tokenizers.__version__, "transformers": transformers.__version__, "tiktoken": tiktoken.__version__}
    # One entry of the lists to a line.
    rows = lambda list: "[\n" + ",\n".join(json.dumps(x, ensure_ascii=True, separators=(",", ":")) for x in list) + "\n]"
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        f.write('{"header": %s,\n"texts": %s,\n"slices": %s,\n"tokenizers": %s}\n' % (
            json.dumps(header), rows(texts), rows([{"file": a, "at": b, "bytes": c} for a, b, c, _ in refs]), rows(out)))


main()
