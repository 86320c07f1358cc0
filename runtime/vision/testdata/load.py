"""Loads LLaVA checkpoints with the installed transformers and writes what it computes.

    python load.py OUT.json DIR...

needs torch and transformers. Run it with transformers 4 and 5 on models that mop pruned,
recovered or merged, and compare the files. A DIR gets the logits of a text with one picture of
random pixels, and whether all parameters came from the checkpoint. With --golden it also writes
DIR/golden.json, from which `MOP_LLAVAS=DIR,.. go test -run Golden ./runtime/vision` compares
mop with it (transformers 4 alone: its preprocessing is the one that mop follows).
"""

import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForImageTextToText, AutoTokenizer

import llava


def load(d):
    model, info = AutoModelForImageTextToText.from_pretrained(d, trust_remote_code=True, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {k: sorted(v) for k, v in info.items() if v}
    return model.eval(), {k: v for k, v in problems.items() if k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}


def logits(model, tokenizer):
    c = model.config
    side, patch = c.vision_config.image_size, c.vision_config.patch_size
    count = (side // patch) ** 2 + (c.vision_feature_select_strategy != "default")
    g = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, side, side, generator=g)
    before, after = tokenizer("USER: ").input_ids, tokenizer("What is in this picture? ASSISTANT:", add_special_tokens=False).input_ids
    ids = torch.tensor([before + [c.image_token_index] * count + after])
    with torch.no_grad():
        return model(input_ids=ids, pixel_values=image, use_cache=False).logits[0]


def main(golden, out, dirs):
    torch.set_num_threads(1)
    found = {"transformers": transformers.__version__, "torch": torch.__version__, "models": {}}
    for d in map(pathlib.Path, dirs):
        model, problems = load(d)
        tokenizer = AutoTokenizer.from_pretrained(d)
        found["models"][str(d)] = {"problems": problems, "logits": logits(model, tokenizer).tolist()}
        print(d, type(model.language_model if hasattr(model, "language_model") else model.model.language_model).__name__, problems or "all parameters loaded")
        if golden:
            llava.finish(d, llava.cases(model, llava.processor(tokenizer, model.config)))
    pathlib.Path(out).write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if a != "--golden"]
    main("--golden" in sys.argv, args[0], args[1:])
