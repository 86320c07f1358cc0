#!/usr/bin/env python3
"""Golden files for package checkpoint, by the safetensors library.

Made with Python 3.11, safetensors 0.8.0, torch 2.15.0:

    python3 golden.py write python/       makes the committed directory python/:
                                          a model of two shards, three types
    python3 golden.py digest DIR          prints a digest of every tensor that the
                                          library reads in DIR; run over the
                                          directory that mop wrote (see
                                          golden_test.go) it made digests.json
"""
import glob
import hashlib
import json
import os
import sys

import safetensors
import torch
from safetensors import safe_open
from safetensors.torch import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5,
    "hidden_size": 4, "head_dim": 2, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 3, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8, "tie_word_embeddings": False, "torch_dtype": "float32",
    "bos_token_id": 1, "eos_token_id": 2,
}
L = "model.layers.0."
SHAPES = [
    ("model.embed_tokens.weight", (5, 4)),
    (L + "input_layernorm.weight", (4,)),
    (L + "self_attn.q_proj.weight", (4, 4)),
    (L + "self_attn.k_proj.weight", (2, 4)),
    (L + "self_attn.v_proj.weight", (2, 4)),
    (L + "self_attn.o_proj.weight", (4, 4)),
    (L + "post_attention_layernorm.weight", (4,)),
    (L + "mlp.gate_proj.weight", (3, 4)),
    (L + "mlp.up_proj.weight", (3, 4)),
    (L + "mlp.down_proj.weight", (4, 3)),
    ("model.norm.weight", (4,)),
    ("lm_head.weight", (5, 4)),
]


def write(out):
    os.makedirs(out, exist_ok=True)
    types = [torch.float32, torch.float16, torch.bfloat16]
    tensors = {}
    for i, (name, shape) in enumerate(SHAPES):
        # Element j of tensor i is (j - 3) / 8 + i: exact in every type.
        n = torch.Size(shape).numel()
        tensors[name] = ((torch.arange(n) - 3) / 8 + i).reshape(shape).to(types[i % 3])
    weight_map, size = {}, 0
    for part, names in enumerate(([n for n, _ in SHAPES[:6]], [n for n, _ in SHAPES[6:]])):
        file = f"model-{part + 1:05d}-of-00002.safetensors"
        save_file({n: tensors[n] for n in names}, os.path.join(out, file), metadata={"format": "pt"})
        for n in names:
            weight_map[n] = file
            size += tensors[n].numel() * tensors[n].element_size()
    with open(os.path.join(out, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": size}, "weight_map": weight_map}, f, indent=1, sort_keys=True)
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(CONFIG, f, indent=1)


def digest(folder):
    out = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with safe_open(path, framework="pt") as f:
            assert f.metadata()["format"] == "pt"
            for name in f.keys():
                t = f.get_tensor(name)
                raw = t.contiguous().view(torch.uint8).numpy().tobytes()
                out[name] = [str(t.dtype), list(t.shape), os.path.basename(path), hashlib.sha256(raw).hexdigest()]
    print(json.dumps({"safetensors": safetensors.__version__, "torch": torch.__version__, "tensors": out}, indent=1, sort_keys=True))


{"write": write, "digest": digest}[sys.argv[1]](sys.argv[2])
