"""Writes the tokenizers of pipelines/ and pipelines.json: the ids that the tokenizers
library (and sentencepiece) give for texts and for random strings, with the
normalizers and pre-tokenizers of model families that are LLaMA's architecture.

    python pipelines.py

The pipelines are written by hand after the families' tokenizer.json files; the
vocabularies are small ones, trained here on this file and the texts. It needs
tokenizers and sentencepiece.
"""

import base64
import io
import json
import os
import random
import unicodedata

import sentencepiece
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers as N, pre_tokenizers as P, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "pipelines")
R = random.Random(5)

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_LLM = [r"[\r\n]", r"\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0370-\u0373\u0386\u0388-\u038a\u038e-\u03a1\u03a3-\u03f5\u0400-\u0481\uff21-\uff3a]+",  # fewer ranges than in the file
                r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
             r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]

split = lambda pattern, behavior="isolated", invert=False: P.Split(Regex(pattern), behavior, invert)
byte_level = lambda regex=True, prefix=False: P.ByteLevel(add_prefix_space=prefix, use_regex=regex)

# name: (normalizer, pre-tokenizer)
BYTES = {
    "llama3": (None, P.Sequence([split(LLAMA3), byte_level(False)])),
    "smollm2": (None, P.Sequence([P.Digits(individual_digits=True), byte_level()])),
    "starcoder2": (None, P.Sequence([P.Digits(individual_digits=True), byte_level()])),
    "granite": (None, P.Sequence([P.Digits(individual_digits=True), byte_level(prefix=True)])),
    "falcon3": (None, P.Sequence([P.Punctuation("contiguous"), byte_level(), P.Digits(individual_digits=False), split("[0-9][0-9][0-9]")])),
    "falcon3-inner": (None, P.Sequence([P.Punctuation("isolated"), byte_level(False), P.Digits(individual_digits=True), split(r"\p{N}|\p{Lu}", "merged_with_previous")])),
    "deepseek": (None, P.Sequence([split(p) for p in DEEPSEEK_CODER] + [P.Digits(individual_digits=True), byte_level(False)])),
    "deepseek-llm": (None, P.Sequence([split(p) for p in DEEPSEEK_LLM] + [P.Digits(individual_digits=True), byte_level(False)])),
    "deepseek3": (None, P.Sequence([split(p) for p in DEEPSEEK3] + [byte_level(False)])),
    "qwen2": (N.NFC(), P.Sequence([split(QWEN2), byte_level(False)])),
    "olmo": (N.NFC(), byte_level()),
    "tekken": (None, P.Sequence([split(TEKKEN), byte_level(False)])),
    "cl100k": (None, P.Sequence([split(CL100K, "removed", True), byte_level(False)])),
    "exaone": (None, P.Sequence([split(r"\p{N}", "isolated"), split(r"\s+\S", "merged_with_next"), byte_level(prefix=True)])),
    "bloom": (None, P.Sequence([split(r" ?[^\s.,!?…。，、।۔،]+"), byte_level(False)])),
    "refact": (N.Sequence([N.NFKC(), N.Lowercase()]), P.Sequence([P.Digits(individual_digits=False), P.Punctuation("merged_with_next"), byte_level()])),
}
META = {
    "legacy": (N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None),
    "yi": (N.Replace(" ", "▁"), None),
    "metaspace-first": (None, P.Metaspace("▁", "first", False)),
    "metaspace-always": (None, P.Metaspace("▁", "always", True)),
    "metaspace-never": (None, P.Metaspace("▁", "never", True)),
    "metaspace-digits": (None, P.Sequence([P.Digits(individual_digits=True), P.Metaspace("▁", "first", True)])),
    "squeezed": (N.Sequence([N.Strip(), N.Replace(Regex(" {2,}"), " "), N.NFKC()]), P.Sequence([P.Metaspace("▁", "always", True), split("[0-9]", "merged_with_previous")])),
    "whitespace": (N.NFD(), P.Sequence([P.Whitespace(), split("[aeiou]+", "merged_with_next")])),
    "whitespace-split": (N.NFKD(), P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_previous"), P.CharDelimiterSplit("x")])),
    "bert": (None, P.Sequence([P.BertPreTokenizer(), P.Split("th", "contiguous"), split(r"\w", "contiguous", True)])),
}
UNIGRAM = {
    "unigram": (None, P.Metaspace("▁", "always", True)),
    "unigram-whole": (N.Sequence([N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace("▁", "first", False)),
}


def texts():
    source = open(__file__, encoding="utf-8").read()
    out = ["", " ", "  ", "\n", "\n\n  \n x", " a", "a  b   c    d", "Hello world", " Hello, y'all! It's 12345 and 3.14; I'LL SEE 'ſ", "x\r\ny\rz\t\tw", "日本語の文章です。カタカナ 中文测试，很好！", "한국어 문장입니다 ㄱ",
           "Привет, мир! ЁЖ", "مرحبا ٣٤٥", "नमस्ते दुनिया", "café naïve ﬁ Å e\u0301 ½ ² ⅷ", "👩🏽‍🚀🏳️‍🌈 😀", "a\u00a0b\u3000c\u2003d\u200be\ufeff", "def f(x):\n    return {'a': [x ** 2, 0x1F]}\n", "HTTPServer camelCase snake_case kebab-case", "1 12 123 1234 12345 1234567 1,234,567.89",
           "the THE The tHe xthxth th", "▁ ▁▁a▁b", "...!!!???---", "$100 #tag @user 50% a&b", "\x00\x01\x7f\x80\x9f", "İstanbul ſtraße ǅ", "<s> </s> <unk>", "trailing   ", "   leading", "مر 12a34b", "\ufdfa ① ﷼", "a" * 50, "ab12" * 20, " \n" * 15]
    out += [source[at:at + 200] for at in (0, 700, 2600, 4000)]
    alphabet = list("  \n\r\tabexthTHE'sl01239.,!?-_/#") + ["é", "e\u0301", "½", "日", "ひ", "한", "😀", "\u00a0", "\u3000", "ſ", "Ж", "٣", "▁", "…", "\u200d", "ﬁ"]
    out += ["".join(R.choice(alphabet) for _ in range(R.choice((3, 8, 20, 60)))) for _ in range(30)]
    out += ["".join(chr(R.choice([R.randrange(0x80), R.randrange(0x3000), R.randrange(0xd800), R.randrange(0xe000, 0x20000)])) for _ in range(R.choice((2, 10, 40)))) for _ in range(25)]
    return out


def assigned(text):
    """Only characters of Unicode 13: normalization of later ones depends on the library's version."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Cs") and not 0x10780 <= ord(c) <= 0x107ba)


def main():
    os.makedirs(OUT, exist_ok=True)
    all_texts = [assigned(t) for t in texts()]
    corpus = all_texts * 3 + [open(__file__, encoding="utf-8").read()]
    special = ["<unk>", "<s>", "</s>"]
    cases = []

    def keep(name, t):
        path = os.path.join(OUT, name + ".json")
        data = json.loads(t.to_str())
        json.dump(data, open(path, "w", encoding="utf-8"), ensure_ascii=False, separators=(",", ":"))
        t = Tokenizer.from_file(path)
        t.encode_special_tokens = True
        cases.append({"file": "pipelines/" + name + ".json", "ids": [t.encode(x, add_special_tokens=False).ids for x in all_texts]})

    for name, (norm, pre) in BYTES.items():
        t = Tokenizer(models.BPE())
        if norm:
            t.normalizer = norm
        t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
        t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=P.ByteLevel.alphabet(), show_progress=False))
        keep(name, t)
    hexes = [f"<0x{b:02X}>" for b in range(256)]
    for name, (norm, pre) in META.items():
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=name != "whitespace"))
        if norm:
            t.normalizer = norm
        if pre:
            t.pre_tokenizer = pre
        t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=620, special_tokens=special + hexes, limit_alphabet=80, show_progress=False))
        data = json.loads(t.to_str())
        data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]
        data["model"]["byte_fallback"] = name != "whitespace"
        if name == "whitespace":
            data["model"]["vocab"] = {k: v for k, v in data["model"]["vocab"].items() if not k.startswith("<0x")}
        keep(name, Tokenizer.from_str(json.dumps(data)))

    def train(kind, **more):
        sink = io.BytesIO()
        lines = [l for x in all_texts[:44] + [open(__file__, encoding="utf-8").read()] for l in x.split("\n") if l.strip() and "\x00" not in l]
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=sink, model_type=kind, vocab_size=500, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, **more)
        return sink.getvalue()

    from sentencepiece import sentencepiece_model_pb2 as pb
    for name, more in (("unigram", {"byte_fallback": True}), ("unigram-unknown", {"user_defined_symbols": ["xth", "<sep>"], "normalization_rule_name": "nfkc"}),
                       ("unigram-identity", {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False})):
        data = train("unigram", **more)
        open(os.path.join(OUT, name + ".model"), "wb").write(data)
        sp = sentencepiece.SentencePieceProcessor(model_proto=data)
        cases.append({"file": "pipelines/" + name + ".model", "ids": [sp.encode(x) for x in all_texts]})
        if name == "unigram-identity":
            continue
        m = pb.ModelProto.FromString(data)
        vocab = [(p.piece, p.score) for p in m.pieces]
        # As transformers converts such a model.
        for variant, (norm, pre) in dict(UNIGRAM, **{"unigram-precompiled": (N.Sequence([N.Precompiled(m.normalizer_spec.precompiled_charsmap), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace("▁", "always", True))}).items():
            if (name == "unigram") == (variant == "unigram-precompiled"):
                continue
            t = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=name == "unigram"))
            if norm:
                t.normalizer = norm
            t.pre_tokenizer, t.decoder = pre, decoders.Metaspace("▁", "always")
            t.add_special_tokens(special)
            keep(variant, t)

    dump = lambda x: json.dumps(x, ensure_ascii=True, separators=(",", ":"))
    with open(os.path.join(HERE, "pipelines.json"), "w") as f:
        f.write('{"made by":"pipelines.py","tokenizers":%s,"sentencepiece":%s,\n"texts":%s,\n"cases":[\n' % (dump(tokenizers.__version__), dump(sentencepiece.__version__), dump(all_texts)))
        f.write(",\n".join(map(dump, cases)) + "]}\n")


main()
