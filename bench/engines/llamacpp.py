"""Compare the GGUF files of mop export gguf with llama.cpp itself.

    python -m venv venv && venv/bin/pip install xllamacpp==2026.10.11549 numpy
    venv/bin/python bench/engines/llamacpp.py --mop ./bin/mop --work out/engines/llamacpp

It exports models of several shapes and compares llama.cpp's logits and greedy tokens
with mop's, and exports several tokenizers and compares the token ids of some hundred
texts. Any difference ends it with status 1. The wheel of xllamacpp carries a llama.cpp
whose C interface ctypes calls.

--model DIR and --tokenizer DIR add a model and a tokenizer of your own. --gguf FILE=DIR
compares a GGUF file of someone else's with the directory that mop import gguf made of it,
by the ids and the perplexity of --text. llama.cpp rounds the activations that it multiplies
quantized matrices by, so that the perplexities are equal within 1 % only. --golden FILE
writes what llama.cpp gave, for the tests in Go: cmd/mop/testdata/llamacpp.json is
made by

    venv/bin/python bench/engines/llamacpp.py --mop ./bin/mop --work out/engines/llamacpp \\
        --tokenizer llama-2=../shared/data/tokenizer-llama2 --tokenizer llama-3=../shared/data/tokenizer-llama3 \\
        --tokenizer smollm2=out/smollm2 --golden cmd/mop/testdata/llamacpp.json
"""
import argparse
import ctypes
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import xllamacpp

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "bench", "demo", "model")
F32 = 0


class Blob(ctypes.Structure):
    """A struct of llama.cpp, larger than any version's: it is passed by value on the
    stack, of which the function reads its own part."""
    _fields_ = [("bytes", ctypes.c_uint8 * 1024)]

    def ints(self):
        return list(struct.unpack("256i", bytes(self.bytes)))

    def set_int(self, index, value):
        struct.pack_into("i", self.bytes, 4 * index, value)


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p), ("pos", ctypes.c_void_p),
                ("n_seq_id", ctypes.c_void_p), ("seq_id", ctypes.c_void_p), ("logits", ctypes.c_void_p)]


class Library:
    def __init__(self):
        self.lib = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
        p = ctypes.c_void_p
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, p)(self.log)
        self.messages = []
        for name, result, arguments in [
            ("llama_log_set", None, [p, p]), ("llama_backend_init", None, []),
            ("llama_model_default_params", Blob, []), ("llama_context_default_params", Blob, []),
            ("llama_model_load_from_file", p, [ctypes.c_char_p, Blob]), ("llama_init_from_model", p, [p, Blob]),
            ("llama_model_free", None, [p]), ("llama_free", None, [p]), ("llama_model_get_vocab", p, [p]), ("llama_vocab_n_tokens", ctypes.c_int32, [p]),
            ("llama_tokenize", ctypes.c_int32, [p, ctypes.c_char_p, ctypes.c_int32, p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]),
            ("llama_batch_get_one", Batch, [p, ctypes.c_int32]), ("llama_decode", ctypes.c_int32, [p, Batch]),
            ("llama_get_memory", p, [p]), ("llama_memory_clear", None, [p, ctypes.c_bool]), ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [p, ctypes.c_int32]),
        ]:
            f = getattr(self.lib, name)
            f.restype, f.argtypes = result, arguments
        self.lib.llama_log_set(ctypes.cast(self.quiet, p), None)
        self.lib.llama_backend_init()

    def log(self, level, text, _):
        self.messages = self.messages[-50:] + [text.decode(errors="replace")]


class Model:
    """A GGUF file in llama.cpp, on the CPU, with a float32 KV cache."""

    def __init__(self, library, path):
        self.library, self.lib, self.context = library, library.lib, None
        params = self.lib.llama_model_default_params()
        self.model = self.lib.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not load it:\n" + "".join(library.messages))
        self.vocab = self.lib.llama_model_get_vocab(self.model)

    def open(self):
        if self.context:
            self.lib.llama_free(self.context)
        params = self.lib.llama_context_default_params()
        ints = params.ints()
        # Four enumerations are -1, the last of which is Flash Attention's; the types of
        # the cache are the first pair of 1 (float16) behind two null pointers.
        flash = next(i for i in range(3, 20) if ints[i - 3:i + 1] == [-1] * 4)
        cache = next(i for i in range(flash, 60) if ints[i - 4:i + 2] == [0, 0, 0, 0, 1, 1])
        params.set_int(flash, 0)
        params.set_int(cache, F32)
        params.set_int(cache + 1, F32)
        self.context = self.lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("llama.cpp makes no context")

    def close(self):
        if self.context:
            self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)

    def tokens(self, text, special=False, bos=False):
        raw = text.encode()
        out = (ctypes.c_int32 * (len(raw) + 16))()
        n = self.lib.llama_tokenize(self.vocab, raw, len(raw), out, len(out), bos, special)
        if n < 0:
            raise SystemExit(f"llama_tokenize: {n} for {text!r}")
        return list(out[:n])

    def decode(self, batch):
        if status := self.lib.llama_decode(self.context, batch):
            raise SystemExit(f"llama_decode of {batch.n_tokens} tokens: {status}\n" + "".join(self.library.messages[-5:]))

    def forward(self, tokens):
        """Logits after the last one of some tokens."""
        buffer = (ctypes.c_int32 * len(tokens))(*tokens)
        self.decode(self.lib.llama_batch_get_one(buffer, len(tokens)))
        n = self.lib.llama_vocab_n_tokens(self.vocab)
        return np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, -1), (n,)).copy()

    def logits(self, tokens, rounded=False):
        """Logits after every token: the prompt's end by one pass, all by single steps. Both agree
        unless activations are rounded, as they are for quantized matrices."""
        self.open()
        whole = self.forward(tokens)
        self.open()
        rows = np.stack([self.forward([t]) for t in tokens])
        assert rounded or np.abs(rows[-1] - whole).max() < 1e-3 * max(1, np.abs(whole).max()), "llama.cpp's passes disagree"
        return rows

    def perplexity(self, tokens, window):
        """That of whole windows, of which the first token is not scored."""
        self.open()
        total, n, vocab = 0.0, 0, self.lib.llama_vocab_n_tokens(self.vocab)
        for start in range(0, len(tokens), window):
            part = tokens[start:start + window]
            self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
            buffer = (ctypes.c_int32 * len(part))(*part)
            batch = self.lib.llama_batch_get_one(buffer, len(part))
            every = (ctypes.c_int8 * len(part))(*[1] * len(part))  # the positions whose logits are wanted
            batch.logits = ctypes.cast(every, ctypes.c_void_p)
            self.decode(batch)
            for i, token in enumerate(part[1:]):
                row = np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, i), (vocab,)).astype(float)
                total += np.log(np.exp(row - row.max()).sum()) + row.max() - row[token]
                n += 1
        return float(np.exp(total / n)), n

    def greedy(self, tokens, count):
        self.open()
        out = []
        row = self.forward(tokens)
        for _ in range(count):
            out.append(int(row.argmax()))
            row = self.forward(out[-1:])
        return out


class Mop:
    def __init__(self, path):
        self.path = path

    def run(self, *args, text=None):
        done = subprocess.run([self.path, *args], input=text, capture_output=True)
        if done.returncode:
            raise SystemExit(f"mop {' '.join(args)}: {done.stderr.decode()}")
        return done.stdout

    def logits(self, directory, tokens):
        return np.array(json.loads(self.run("logits", "--model", directory, "--ids", ",".join(map(str, tokens)), "--json", "--device", "cpu")))

    def tokens(self, directory, texts):
        program = ["go", "run", "./bench/engines/tokens", os.path.abspath(directory)]
        return json.loads(subprocess.run(program, input=json.dumps(texts).encode(), stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)


def config(vocab, hidden, head_dim, layers, **more):
    """A config.json; layers are (heads, KV heads, neurons)."""
    first = next(((h, k, i) for h, k, i in layers if h and i), (1, 1, 1))
    out = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden, "head_dim": head_dim,
           "num_hidden_layers": len(layers), "num_attention_heads": first[0], "num_key_value_heads": first[1], "intermediate_size": first[2],
           "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "tie_word_embeddings": False, "torch_dtype": "float32",
           "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.15} | more
    if any(l != first for l in layers):
        out["architectures"], out["model_type"] = ["MopLlamaForCausalLM"], "mop_llama"
        out["per_layer_config"] = {str(n): override(*l) for n, l in enumerate(layers) if l != first}
    return out


def override(heads, kv_heads, neurons):
    out = {"num_attention_heads": heads, "num_key_value_heads": kv_heads} if heads else {}
    if neurons:
        out["intermediate_size"] = neurons
    skipped = [block for block, n in (("attention", heads), ("mlp", neurons)) if not n]
    return out | ({"skip": skipped} if skipped else {})


LLAMA3 = {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}
SHAPES = {
    "uniform MHA, 5 heads": config(1024, 64, 8, [(5, 5, 96)] * 3),
    "uniform GQA": config(1024, 64, 16, [(4, 2, 100)] * 3, tie_word_embeddings=True),
    "uniform GQA, LLaMA-3 scaling": config(1024, 64, 16, [(6, 2, 77)] * 2, **LLAMA3),
    "linear scaling": config(1024, 64, 16, [(4, 4, 64)] * 2, rope_scaling={"rope_type": "linear", "factor": 4.0}),
    "layers differ": config(1024, 64, 16, [(4, 2, 100), (3, 1, 37), (1, 1, 1), (6, 3, 333)]),
    "no heads, no neurons": config(1024, 64, 16, [(4, 4, 96), (0, 0, 50), (3, 3, 0), (2, 1, 11), (0, 0, 0), (5, 5, 7)]),
    "no heads in front, no neurons at the end": config(1024, 64, 16, [(0, 0, 64), (3, 3, 17), (4, 2, 0)], **LLAMA3),
    "nothing in front": config(1024, 64, 16, [(0, 0, 0), (3, 3, 17), (0, 0, 0)]),
}


def compare_model(library, mop, name, directory, work, failures, tolerance=2e-5, flags=(), count=32):
    path = os.path.join(work, "model.gguf")
    flags = flags or ("--type", "f32")
    said = mop.run("export", "gguf", "--model", directory, "--out", path, "--force", *flags).decode()
    model = Model(library, path)
    rng = random.Random(3)
    vocab = library.lib.llama_vocab_n_tokens(model.vocab)
    tokens = [rng.randrange(3, vocab) for _ in range(40)]
    theirs, ours = model.logits(tokens), mop.logits(directory, tokens)
    worst = np.abs(theirs - ours).max() / np.abs(theirs).max()
    greedy = model.greedy(tokens[:5], count)
    argmax = mop.logits(directory, tokens[:5] + greedy)[4:-1].argmax(-1).tolist()
    same = sum(a == b for a, b in zip(greedy, argmax))
    print(f"{name}: {said.split(', ')[0].split()[-1]}, logits within {worst:.1e} of the largest, {same} of {count} greedy tokens equal", flush=True)
    if not worst <= tolerance or same != count:
        failures.append(name)
    model.close()
    return {"name": name, "sha256": digest(path), "tokens": tokens, "greedy": greedy, "every_97th": theirs[:, ::97].astype(float).round(6).tolist()}


def compare_gguf(library, mop, file, directory, text, work, failures, window=512, windows=20):
    """A file that mop imported: its perplexity in llama.cpp and that of the directory in mop."""
    model = Model(library, file)
    with open(text, encoding="utf-8") as f:
        part = f.read()
    tokens = model.tokens(part)
    equal = tokens == mop.tokens(directory, [part])[0]
    said = json.loads(mop.run("eval", "ppl", "--model", directory, "--text", text, "--context", str(window), "--max-tokens-per-document", str(window * windows),
                              "--json", "--device", "cpu"))
    theirs, scored = model.perplexity(tokens[:window * windows], window)
    ours = said["ppl"]
    rows, own = model.logits(tokens[:40], rounded=True), mop.logits(directory, tokens[:40])
    print(f"{os.path.basename(file)}: {len(tokens)} ids {'equal' if equal else 'DIFFER'}; perplexity of {scored} tokens in windows of {window}: llama.cpp {theirs:.4f}, mop {ours:.4f}, "
          f"ratio {ours / theirs:.4f}; logits within {np.abs(rows - own).max() / np.abs(rows).max():.1e} of the largest", flush=True)
    if not equal or scored != said["tokens"] or not abs(ours / theirs - 1) < 0.01:
        failures.append(file)
    model.close()


def texts(count):
    """Words, code, digits, white space, many scripts, and random Unicode."""
    rng = random.Random(29)
    parts = ["the", " and", "don't", " I'll", "WE'VE", "'S", "1", "23", "4567", " 8", "\u0663", "\u00bd", "\u2168", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", ".", "...", "?!", "-", "_",
             "\u00e9", "e\u0301", "\u00df", "\u4e2d\u6587", "\u3042", "\ud55c\uad6d", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f600", "\u200d", "\u00a0", "\ufeff", "\u2581", "\u3000",
             "def f(x):\n    return x**2", "http://a.b/c?d=e&f", "camelCase", "SHOUTING", "\u041f\u0440\u0438\u0432\u0435\u0442", "<s>", "</s>", "<0x41>", "<|im_end|>", "[INST]", "\u0130", "\u01c5", "aaaa", "      "]
    ranges = [(0x20, 0x7f), (0xa0, 0x250), (0x250, 0x600), (0x900, 0xe00), (0x1e00, 0x2100), (0x2100, 0x2c00), (0x3000, 0x3400), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1f700), (0x10000, 0x10400)]
    out = ["", " ", "Hello world", " Hello", "Once upon a time there was a clever girl named Ella.", "In 1984, Paris had 2,176,243 inhabitants."]
    while len(out) < count // 2:
        out.append("".join(rng.choice(parts) for _ in range(rng.randint(1, 16))))
    while len(out) < count:
        lo, hi = rng.choice(ranges)
        out.append("".join(chr(rng.randrange(lo, hi)) + rng.choice(["", "", " "]) for _ in range(rng.randint(1, 16))))
    return out


def digest(path):
    """The test in Go must export the same file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def compare_tokenizer(library, mop, name, directory, work, failures, count=260):
    model_dir, path = os.path.join(work, "tokenizer"), os.path.join(work, "tokenizer.gguf")
    shutil.rmtree(model_dir, ignore_errors=True)
    for rows in (1024, 32000, 32064, 49152, 128256, 1 << 18):
        c = config(rows, 32, 32, [(1, 1, 1)], torch_dtype="float16", tie_word_embeddings=True)
        with open(os.path.join(work, "config.json"), "w") as f:
            json.dump(c, f)
        done = subprocess.run([mop.path, "init", "--config", os.path.join(work, "config.json"), "--tokenizer", directory, "--out", model_dir], capture_output=True)
        if not done.returncode:
            break
    else:
        raise SystemExit(done.stderr.decode())
    said = mop.run("export", "gguf", "--model", model_dir, "--out", path, "--force").decode()
    model = Model(library, path)
    wrong, cases = [], []
    every = texts(count)
    for text, ours in zip(every, mop.tokens(model_dir, every)):
        theirs = model.tokens(text)
        cases.append(theirs)
        if theirs != ours:
            wrong.append((text, theirs, ours))
    print(f"tokenizer {name}: {count - len(wrong)} of {count} texts equal", flush=True)
    for line in said.splitlines():
        if line.startswith("note: "):
            print("  " + line)
    for text, theirs, ours in wrong[:5]:
        print(f"  {text!r}:\n    llama.cpp {theirs}\n    mop       {ours}")
    if wrong:
        failures.append("tokenizer " + name)
    model.close()
    return {"name": name, "config": c, "sha256": digest(path), "ids": cases}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mop", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--model", action="append", default=[], metavar="NAME=DIR")
    p.add_argument("--tokenizer", action="append", default=[], metavar="NAME=DIR")
    p.add_argument("--gguf", action="append", default=[], metavar="FILE=DIR")
    p.add_argument("--text", help="text for --gguf, such as wiki.test.raw")
    p.add_argument("--golden")
    a = p.parse_args()
    os.makedirs(a.work, exist_ok=True)
    library, mop, failures = Library(), Mop(a.mop), []
    golden = {"made_by": f"bench/engines/llamacpp.py with xllamacpp {version('xllamacpp')}", "models": [], "texts": texts(260), "tokenizers": []}
    for name, c in SHAPES.items():
        directory = os.path.join(a.work, "model")
        shutil.rmtree(directory, ignore_errors=True)
        with open(os.path.join(a.work, "config.json"), "w") as f:
            json.dump(c, f)
        mop.run("init", "--config", os.path.join(a.work, "config.json"), "--tokenizer", DEMO, "--out", directory, "--seed", "7")
        golden["models"].append({"config": c} | compare_model(library, mop, name, directory, a.work, failures))
    golden["models"].append(compare_model(library, mop, "demo", DEMO, a.work, failures))
    for name, directory in (x.split("=", 1) for x in a.model):
        compare_model(library, mop, name, directory, a.work, failures)
    for file, directory in (x.split("=", 1) for x in a.gguf):
        compare_gguf(library, mop, file, directory, a.text, a.work, failures)
    for name, directory in [("demo", DEMO)] + [tuple(x.split("=", 1)) for x in a.tokenizer]:
        golden["tokenizers"].append(compare_tokenizer(library, mop, name, directory, a.work, failures))
    if a.golden:
        with open(a.golden, "w") as f:
            json.dump(golden, f, separators=(",", ":"))
            f.write("\n")
    if failures:
        raise SystemExit("llama.cpp differs: " + "; ".join(failures))


if __name__ == "__main__":
    main()
