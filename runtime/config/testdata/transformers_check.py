"""Loads a model directory with transformers, unchanged, and prints its logits.

    python transformers_check.py DIR --ids 5,1,7 [--against LOGITS.json]

prints one JSON object: the versions, the classes that transformers chose, the
logits [T][V] computed in float32; or, where the directory is refused, the error
(and ends with 1). With --against, a file as `mop logits --json` prints it, the
logits are replaced by the largest difference from it.
"""

import argparse
import json
import platform
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dir")
    p.add_argument("--ids", required=True)
    p.add_argument("--against")
    a = p.parse_args()
    out = {"versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(a.dir, attn_implementation="eager", output_loading_info=True)
    except Exception as e:
        print(json.dumps({**out, "error": " ".join(str(e).split())}, indent=1))
        sys.exit(1)
    left = {k: sorted(map(str, v)) for k, v in info.items() if v}
    out |= {"config": type(model.config).__name__, "model": type(model).__name__, "left_over": left}
    with torch.no_grad():
        logits = model.float().eval()(torch.tensor([[int(x) for x in a.ids.split(",")]])).logits[0]
    if a.against:
        with open(a.against) as f:
            other = torch.tensor(json.load(f))
        out |= {"max_abs_logit": logits.abs().max().item(), "max_difference": (logits - other).abs().max().item()}
    else:
        out["logits"] = logits.tolist()
    print(json.dumps(out, indent=1))
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
