"""Write the golden files of this directory with gguf, the package of llama.cpp.

    python -m venv venv && venv/bin/pip install gguf==0.19.0 numpy
    venv/bin/python golden.py .

blocks.json: blocks of random bytes of every quantized type, and the float32 values
that gguf.quants.dequantize gives. quantized.json: values and their Q8_0. llama.gguf and deci.gguf: small models whose
weights follow from a formula (see weight), with rows of q and k permuted as
llama.cpp's converter does.
"""
import base64
import json
import sys

import gguf
import numpy as np
from importlib.metadata import version

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "BF16", "F16"]
# Where a block's half-precision scales are, in bytes.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def blocks(out):
    rng = np.random.default_rng(7)
    cases = []
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        count = 6 if elements > 1 else 64
        raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for at in SCALES.get(name, []):
            scale = (rng.standard_normal(count) * 0.01).astype(np.float16)
            scale[0] = 6e-8  # subnormal
            raw[:, at:at + 2] = scale.view(np.uint8).reshape(count, 2)
        if name in ("BF16", "F16"):  # finite
            raw[:, 1] &= 0xBB
        values = gguf.quants.dequantize(raw.reshape(1, -1), kind).astype(np.float32).reshape(-1)
        assert np.isfinite(values).all()
        cases.append({"type": name, "raw": base64.b64encode(raw.tobytes()).decode(), "values": base64.b64encode(values.tobytes()).decode()})
    header = f"gguf {version('gguf')}, numpy {version('numpy')}: golden.py"
    with open(out + "/blocks.json", "w") as f:
        json.dump({"made_by": header, "cases": cases}, f, indent=1)
        f.write("\n")


def quantized(out):
    """Values in Q8_0: of many magnitudes, ties between two quants, zeros."""
    rng = np.random.default_rng(11)
    rows = [(rng.standard_normal(32) * 10.0 ** e).astype(np.float32) for e in range(-9, 5) for _ in range(4)]
    rows.append(np.zeros(32, np.float32))
    rows.append(np.array([127.0] + [k + 0.5 for k in range(31)], np.float32))
    rows.append(-rows[-1])
    rows.append(np.array([127.0] + [np.nextafter(np.float32(k + 0.5), np.float32(0)) for k in range(31)], np.float32))
    values = np.stack(rows)
    raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    with open(out + "/quantized.json", "w") as f:
        json.dump({"made_by": f"gguf {version('gguf')}, numpy {version('numpy')}: golden.py", "values": base64.b64encode(values.tobytes()).decode(),
                   "raw": base64.b64encode(raw.tobytes()).decode()}, f, indent=1)
        f.write("\n")


def weight(name, *shape):
    """Multiples of 1/128 in [-1, 1): exact in float32, float16 and bfloat16."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return (((i * 37 + len(name) * 101 + i // 7) % 256 - 128) / 128).astype(np.float32).reshape(shape)


def permute(w, heads):  # conversion/llama.py of llama.cpp
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def bf16(x):
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def tensors(w, layers, d, dh, vocab, kind):
    def add(name, x, heads=None):
        if heads:
            x = permute(x, heads)
        if x.ndim == 1:
            return w.add_tensor(name, x)
        if kind == "BF16":
            return w.add_tensor(name, bf16(x).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        w.add_tensor(name, x.astype({"F16": np.float16, "F32": np.float32}[kind]))

    add("token_embd.weight", weight("model.embed_tokens.weight", vocab, d))
    for l, (h, k, i) in enumerate(layers):
        hf, to = f"model.layers.{l}.", f"blk.{l}."
        if h:
            add(to + "attn_norm.weight", weight(hf + "input_layernorm.weight", d))
            add(to + "attn_q.weight", weight(hf + "self_attn.q_proj.weight", h * dh, d), h)
            add(to + "attn_k.weight", weight(hf + "self_attn.k_proj.weight", k * dh, d), k)
            add(to + "attn_v.weight", weight(hf + "self_attn.v_proj.weight", k * dh, d))
            add(to + "attn_output.weight", weight(hf + "self_attn.o_proj.weight", d, h * dh))
        if i:
            add(to + "ffn_norm.weight", weight(hf + "post_attention_layernorm.weight", d))
            add(to + "ffn_gate.weight", weight(hf + "mlp.gate_proj.weight", i, d))
            add(to + "ffn_up.weight", weight(hf + "mlp.up_proj.weight", i, d))
            add(to + "ffn_down.weight", weight(hf + "mlp.down_proj.weight", d, i))
    add("output_norm.weight", weight("model.norm.weight", d))


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama(out):
    """Two layers alike, F16, LLaMA-3's RoPE scaling, an untied head, SentencePiece."""
    w = gguf.GGUFWriter(out + "/llama.gguf", "llama")
    d, dh = 16, 8
    texts = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "a", "b", "ab", "\u2581ab", "abab", "<tool>", "[PAD266]"]
    types = [2, 3, 3] + [6] * 256 + [1] * 6 + [4, 5]
    scores = [0.0] * 259 + [-6.0, -5.0, -4.0, -1.0, -2.0, -3.0, 0.0, -1000.0]
    w.add_context_length(64)
    w.add_embedding_length(d)
    w.add_block_count(2)
    w.add_feed_forward_length(5)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_key_length(dh)
    w.add_value_length(dh)
    w.add_rope_dimension_count(dh)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(texts))
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(texts)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_chat_template("{{ messages }}<b>")
    tensors(w, [(4, 2, 5)] * 2, d, dh, len(texts), "F16")
    w.add_tensor("output.weight", weight("lm_head.weight", len(texts), d).astype(np.float16))
    # conversion/llama.py: generate_extra_tensors
    factors = []
    for i in range(0, dh, 2):
        f = 1 / 500000.0 ** (i / dh)
        wavelength = 2 * np.pi / f
        if wavelength < 8192 / 4:
            factors.append(1.0)
        elif wavelength > 8192 / 1:
            factors.append(8.0)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            factors.append(1 / ((1 - smooth) / 8 + smooth))
    w.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    finish(w)


def deci(out):
    """Four layers, BF16: another shape each, one without attention, one without MLP."""
    w = gguf.GGUFWriter(out + "/deci.gguf", "deci")
    d, dh, layers = 16, 4, [(3, 1, 7), (0, 0, 5), (4, 2, 0), (2, 2, 9)]
    letters = [chr(c) for c in (*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x100, 0x144))]
    texts = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + letters + ["ab", "\u0120ab", "abab"]
    w.add_context_length(64)
    w.add_embedding_length(d)
    w.add_block_count(len(layers))
    w.add_feed_forward_length([i for _, _, i in layers])
    w.add_head_count([h for h, _, _ in layers])
    w.add_head_count_kv([k for _, k, _ in layers])
    w.add_key_length(dh)
    w.add_value_length(dh)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(4.0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(texts)
    w.add_token_types([3, 3, 3] + [1] * (len(texts) - 3))
    w.add_token_merges(["a b", "\u0120 ab", "ab ab"])
    w.add_eos_token_id(0)
    w.add_eot_token_id(2)
    w.add_add_bos_token(False)
    tensors(w, layers, d, dh, len(texts), "BF16")
    finish(w)


if __name__ == "__main__":
    blocks(sys.argv[1])
    quantized(sys.argv[1])
    llama(sys.argv[1])
    deci(sys.argv[1])
