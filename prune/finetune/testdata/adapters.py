"""Makes adapters of further PEFT options, and what PEFT adds to the weights for them.

    python adapters.py        # torch 2.15.0, transformers 4.57.6, peft 0.18.1

writes adapters/NAME/ (random A and B for the model of steps.py, as peft saves them) and
adapters.json: for each module that has an adapter, two sums over PEFT's get_delta_weight,
the second one with the weights cos(i + 3 j).
"""
import json, pathlib, shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
CASES = {
    "rslora": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "down_proj"]),
    "patterns": dict(r=2, lora_alpha=4, target_modules=["k_proj", "o_proj", "up_proj"],
                     rank_pattern={"0.self_attn.k_proj": 3, r"layers\.1\.self_attn\.k_proj": 1, r"model\.layers\.\d+\.mlp\..*": 4}, alpha_pattern={"o_proj": 7, "layers.0.mlp.up_proj": 1}),
    "patterns-rslora": dict(r=2, lora_alpha=4, use_rslora=True, target_modules=["v_proj"], rank_pattern={"layers.1.self_attn.v_proj": 3}, alpha_pattern={"layers.0.self_attn.v_proj": 9}),
    "layers": dict(r=2, lora_alpha=3, target_modules=["gate_proj", "q_proj"], layers_to_transform=[1]),
    "one-layer": dict(r=2, lora_alpha=3, target_modules=["gate_proj"], layers_to_transform=1, layers_pattern="layers"),
    "regex": dict(r=1, lora_alpha=2, target_modules=r".*\.0\.(self_attn\.(?!q)\w_proj|mlp\.down_proj)"),
    "all-linear": dict(r=1, lora_alpha=1, target_modules="all-linear", exclude_modules=["o_proj", "layers.0.mlp.gate_proj"]),
    "gaussian": dict(r=2, lora_alpha=2, target_modules=["o_proj"], init_lora_weights="gaussian"),
    "orthogonal": dict(r=2, lora_alpha=2, target_modules=["o_proj"], init_lora_weights="orthogonal"),
}
shutil.rmtree(HERE / "adapters", ignore_errors=True)
golden = {}
for name, options in CASES.items():
    torch.manual_seed(len(name))
    model = LlamaForCausalLM.from_pretrained(HERE / "model", dtype=torch.float32)
    p = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    for n, w in p.named_parameters():
        if "lora_" in n:
            w.data = torch.randn_like(w)
    out = HERE / "adapters" / name
    p.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    c = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(c | {"base_model_name_or_path": "model"}, indent=1) + "\n")
    p = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(HERE / "model", dtype=torch.float32), out)
    golden[name] = {}
    for n, m in p.base_model.model.named_modules():
        if hasattr(m, "get_delta_weight") and "default" in m.lora_A:
            d = m.get_delta_weight("default").double()
            i, j = torch.arange(d.shape[0])[:, None], torch.arange(d.shape[1])[None, :]
            golden[name][n] = [d.sum().item(), (d * torch.cos((i + 3 * j).double())).sum().item()]
(HERE / "adapters.json").write_text(json.dumps(golden, indent=1) + "\n")
