"""Writes golden.json: the matches that Oniguruma finds, through the Split
pre-tokenizer of the tokenizers library, which keeps the matches of a pattern with
behavior "removed" and invert.

    python golden.py

For "sets" the text is every code point in order, and the matches are listed as
[first, last] code points of the runs that match.
"""

import json
import os
import random

import tokenizers
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

HERE = os.path.dirname(os.path.abspath(__file__))
R = random.Random(3)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = [
    GPT2, CL100K, LLAMA3, TEKKEN, O200K, DEEPSEEK3, "[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$",
    r"\p{N}{1,3}", "[0-9][0-9][0-9]", r"(?:\r?\n)+(?!\r?\n)", r"\d{1,3}(?=(?:\d{3})*\b)", r"[0-9]+", r"\w+|[^\w\s]+", r"[^\W\d_]+", r"(?<=\d)(?=\D)|x", r"(?<!a)b", r"(?<=ab|cd)e",
    r"(?i:[k])", r"(?i:[^k])", r"(?i:É)", r"(?m:a.b)", r"a.b", r"^x", r"x$", r"\Ax", r"x\z", r"x\Z", r"\bab\b", r"\Bb", r"[a-z&&[^aeiou]]+", r"[\w&&[^\d]]+", r"[[:alpha:]]+", r"[[:digit:]a]+",
    r"\p{Han}+", r"\p{Hiragana}|\p{Katakana}", r"\P{L}+", r"\p{^L}+", r"\p{Greek}", r"\p{Letter}", r"\p{Uppercase_Letter}", r"a+?b", r"a{2}", r"a{2,}", r"a{,2}b", r"a{1,2}?b", r"(?>a+)b", r"a++b", r"a*+b", r"a?+b",
    r"(a|ab)(c|bcd)(d*)", r"(?:a|b)*c", r"(?<name>a)b", r"[\]a]", r"[a\-z]+", r"[-a]+", r"[a-]+", r"[.]", r"\.", r"\x41\x{e9}\u00e9", r"[\x{1F600}-\x{1F64F}]", r"\t|\v|\f", r"a{x", r"x{}", r"", r"a*",
    r"[^\n]+|\n", r"(?=a)\w", r"(?!a)\w", r"\h+", r"\H+", r"'(?i:[sdmt]|ll|ve|re)", r"[\p{L}\p{M}]+", r"\S+", r"\s", r" {2,}", r"(?<=[^\s])\s", r"(?-i:a)B", r"(?i-m:a.b)",
]
SETS = [r"\s", r"\d", r"\w", r"\h", r"\p{L}", r"\p{N}", r"\p{P}", r"\p{S}", r"\p{M}", r"\p{Z}", r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{Nd}", r"\p{Han}", r"\p{Cc}", r"\p{Upper}", r"\p{Lower}", r"[[:space:]]",
        r"(?i:[a-zé])", r"(?i:[ſK])", r"(?i:k)", r"."]
WORDS = ["a", "b", "ab", "abc", "abcd", "aab", "cde", "Hello", "HELLO wörld", "x", "e", "É", "é", "K", "\u212a", "ſ", "'s", "'LL", "'\u017f", "don't", "1", "12", "1234567", "٣", "½", " ", "  ", "\n", "\r\n", "\t", "\v", "\f", "\u00a0", "\u3000", "\u0085", "\u2028",
         ".", "...", "!?", "，。", "(", "_", "-", "/", "中文", "ひカ", "한글", "α", "e\u0301", "\u0301", "😀", "👩\u200d🚀", "\u200d", "\ufeff", "{", "}", "]", "$x^2", "a\nb", "a{x", "ABC", "straße", "x\n"]


def matches(pattern, text):
    return [list(span) for _, span in Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)]


def main():
    texts = ["".join(R.choice(WORDS) for _ in range(n)) for n in (1, 1, 2, 3, 4, 6, 8, 12, 20, 30) for _ in range(3)] + WORDS
    everything = "".join(chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000)
    code = lambda i: ord(everything[i])
    sets = []
    for p in SETS:
        runs = []
        for a, b in matches(p, everything):
            a, b = code(a), code(b - 1)
            if runs and runs[-1][1] + 1 == a:
                runs[-1][1] = b
            else:
                runs.append([a, b])
        sets.append({"pattern": p, "runs": runs})
    cases = [{"pattern": p, "matches": [matches(p, t) for t in texts]} for p in PATTERNS]
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        dump = lambda x: json.dumps(x, ensure_ascii=True, separators=(",", ":"))
        f.write('{"made by":"golden.py","tokenizers":%s,\n"texts":%s,\n"cases":[\n' % (dump(tokenizers.__version__), dump(texts)))
        f.write(",\n".join(map(dump, cases)) + '],\n"sets":[\n' + ",\n".join(map(dump, sets)) + "]}\n")


main()
