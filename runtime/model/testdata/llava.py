"""Makes the golden LLaVA models of this directory: tiny random ones, vision tower
and all, in both layouts, and the logits of their language model.

    python llava.py

needs torch, transformers and safetensors; golden.py says what a case is made of.
llava-hf is what transformers writes; llava-flat holds the same weights under the
names and with the config.json of LLaVA's own releases, and an I64 tensor as old
CLIP exports had.
"""

import json
import platform
import shutil

import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from golden import HERE, make_ids, randomise


def write(name, about, d, ids, out):
    save_file({"logits": out}, d / "golden.safetensors")
    (d / "golden.json").write_text(json.dumps({
        "about": about, "command": "python llava.py", "dtype": "float16",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "safetensors": safetensors.__version__},
        "max_abs_logit": out.abs().max().item(), "ids": ids}, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    text = LlamaConfig(vocab_size=72, hidden_size=16, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=4, head_dim=4,
                       intermediate_size=24, max_position_embeddings=64, rms_norm_eps=1e-5, attn_implementation="eager")
    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    c = LlavaConfig(vision_config=vision, text_config=text, image_token_index=70, tie_word_embeddings=False)
    model = LlavaForConditionalGeneration(c)
    randomise(model, 21)
    model = model.half()
    hf = HERE / "llava-hf"
    shutil.rmtree(hf, ignore_errors=True)
    model.save_pretrained(hf)
    (hf / "generation_config.json").unlink(missing_ok=True)
    ids = make_ids(1021, 16, 70)
    model = model.float().eval()
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()
    assert torch.isfinite(out).all() and out.abs().max() > 1
    write("llava-hf", "a LLaVA as transformers writes it", hf, ids, out)

    state, flat = load_file(hf / "model.safetensors"), {}
    projector = {"linear_1": "0", "linear_2": "2"}
    for name, t in state.items():
        part, _, rest = name.partition(".")
        if part == "language_model":
            flat[rest] = t
        elif part == "vision_tower":
            flat["model.vision_tower.vision_tower." + rest] = t
        else:
            layer, kind = rest.split(".")
            flat[f"model.mm_projector.{projector[layer]}.{kind}"] = t
    flat["model.vision_tower.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    d = HERE / "llava-flat"
    shutil.rmtree(d, ignore_errors=True)
    d.mkdir()
    save_file(flat, d / "model.safetensors", {"format": "pt"})
    (d / "config.json").write_text(json.dumps({
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "bos_token_id": 1, "eos_token_id": 2, "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu", "hidden_size": 16, "image_aspect_ratio": "pad", "initializer_range": 0.02, "intermediate_size": 24,
        "max_position_embeddings": 64, "mm_hidden_size": 8, "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "num_attention_heads": 4, "num_hidden_layers": 5, "num_key_value_heads": 4,
        "pad_token_id": 0, "rms_norm_eps": 1e-5, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "float16",
        "use_mm_proj": True, "vocab_size": 72}, indent=2) + "\n")
    write("llava-flat", "the same in the layout of LLaVA's own releases", d, ids, out)


if __name__ == "__main__":
    main()
