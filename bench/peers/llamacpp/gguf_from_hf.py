"""Write a LLaMA checkpoint (Hugging Face directory of safetensors) as GGUF files.

    python gguf_from_hf.py HF_DIR OUT_DIR TYPE[,TYPE...]     TYPE: BF16, F16, Q8_0

OUT_DIR/TYPE.gguf holds the same weights in llama.cpp's order, without a
tokenizer: llama-bench needs none. Norms are F32, as llama.cpp's own converter
writes them; every matrix, embedding and head included, has TYPE.
"""
import json
import os
import sys

import gguf
import numpy as np

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}


def tensors(directory):
    """Yield (name, dtype, shape, memory-mapped raw array) of all shards."""
    for file in sorted(f for f in os.listdir(directory) if f.endswith(".safetensors")):
        path = os.path.join(directory, file)
        with open(path, "rb") as f:
            size = int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(size))
        raw = np.memmap(path, np.uint8, "r", offset=8 + size)
        for name, t in header.items():
            if name != "__metadata__":
                lo, hi = t["data_offsets"]
                yield name, t["dtype"], t["shape"], raw[lo:hi]


def as_float32(dtype, shape, raw):
    if dtype == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return raw.view({"F16": np.float16, "F32": np.float32}[dtype]).astype(np.float32).reshape(shape)


def interleaved(w, heads):
    """Rows of q and k in the order of llama.cpp's rotation, which turns neighbours."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def stored(w, type_):
    if type_ == "F32":
        return w, gguf.GGMLQuantizationType.F32
    if type_ == "F16":
        return w.astype(np.float16), gguf.GGMLQuantizationType.F16
    q = gguf.GGMLQuantizationType[type_]
    return gguf.quants.quantize(w, q), q


def write(directory, path, type_):
    with open(os.path.join(directory, "config.json")) as f:
        c = json.load(f)
    head_dim = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    w = gguf.GGUFWriter(path, "llama")
    w.add_vocab_size(c["vocab_size"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(c["rope_theta"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_file_type(gguf.LlamaFileType["MOSTLY_" + type_])
    w.add_tokenizer_model("no_vocab")
    for name, dtype, shape, raw in tensors(directory):
        x = as_float32(dtype, shape, raw)
        if name in TOP:
            to = TOP[name]
        else:
            _, _, layer, *part, _ = name.split(".")
            part = ".".join(part)
            to = f"blk.{layer}.{NAMES[part]}.weight"
            if part == "self_attn.q_proj":
                x = interleaved(x, c["num_attention_heads"])
            if part == "self_attn.k_proj":
                x = interleaved(x, c["num_key_value_heads"])
        data, q = stored(x, "F32" if x.ndim == 1 else type_)
        w.add_tensor(to, data, raw_dtype=q)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    for t in sys.argv[3].split(","):
        path = os.path.join(sys.argv[2], t + ".gguf")
        write(sys.argv[1], path, t)
        print(path)
