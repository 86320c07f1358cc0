"""Writes rope.json: rotary frequencies as transformers computes them.

    python rope.py > rope.json
"""

import json
import platform

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = [
    (128, {"rope_type": "default", "rope_theta": 10000.0}),
    (64, {"rope_type": "default", "rope_theta": 10000.0}),
    (128, {"rope_type": "default", "rope_theta": 500000.0}),
    (6, {"rope_type": "default", "rope_theta": 12345.678}),
    (2, {"rope_type": "default", "rope_theta": 10000.0}),
    (128, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    (100, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.7}),
    # Llama-3.1-8B, Llama-3.2-1B
    (128, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    (64, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    (16, {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    (96, {"rope_type": "llama3", "rope_theta": 98765.4, "factor": 3.3, "low_freq_factor": 1.3,
          "high_freq_factor": 5.9, "original_max_position_embeddings": 1000}),
]


def main():
    rows = []
    for dim, rope in CASES:
        c = LlamaConfig(hidden_size=dim, num_attention_heads=1, head_dim=dim, max_position_embeddings=16384, rope_parameters=dict(rope))
        f = LlamaRotaryEmbedding(c).inv_freq
        rows.append({"head_dim": dim, "rope": rope, "inv_freq_bits": f.view(torch.int32).tolist()})
    print(json.dumps({
        "command": "python rope.py > rope.json",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
        "cases": rows,
    }))


if __name__ == "__main__":
    main()
