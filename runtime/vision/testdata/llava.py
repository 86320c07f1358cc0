"""Makes small random LLaVAs with their tokenizer, and what transformers computes with them.

    python llava.py

needs torch, torchvision, transformers, tokenizers, safetensors and pillow. It writes
models/NAME/ (a checkpoint and golden.json) for

    dense    as transformers 4 writes it: names language_model.model. and so on
    pruned   heads and MLP neurons removed (heads x head size is not the hidden size), names
             as transformers 5 writes them (model.language_model.), features of two layers
             with the class token, GELU in the tower
    flat     the layout of LLaVA's own releases, float16, padding to a square

A golden.json holds, for conversations with one and with two pictures of pictures/: the
prompt, the tokens, the features and projected features (some values of them and sums),
the logits of some positions, and the greedy continuation. Everything is computed in
float32.
"""

import json
import pathlib
import platform
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from transformers import (CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration,
                          LlavaProcessor, PreTrainedTokenizerFast)
from transformers.image_utils import load_image
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

HERE = pathlib.Path(__file__).parent
MODELS, PICTURES = HERE / "models", HERE / "pictures"
VOCABULARY = 400

TEMPLATE = ("{% for m in messages %}{{ m['role'].upper() + ': ' }}{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}"
            "{{ '<image>\n' }}{% endfor %}{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}"
            "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")

CORPUS = ["USER: What is in this picture? ASSISTANT: a house and a tree", "Describe the difference between the two images.",
          "The quick brown fox jumps over the lazy dog.", "Is there a dog in the picture? yes no", "the small red boat on the blue water"]


def tokenizer(image_token):
    """A SentencePiece-like BPE with byte fallback, as LLaMA's is."""
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=VOCABULARY - 4, special_tokens=special, show_progress=False))
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]
    t = Tokenizer.from_str(json.dumps(data))
    from tokenizers.processors import TemplateProcessing
    t.post_processor = TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    if image_token:
        fast.add_tokens([AddedToken("<image>", special=True, normalized=False)], special_tokens=True)
        fast.image_token = "<image>"
    return fast


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if "norm" in name or "layrnorm" in name:
                p.copy_(torch.randn(p.shape, generator=g) * 0.2 + (0 if name.endswith("bias") else 1))
            elif p.dim() == 1:
                p.copy_(torch.randn(p.shape, generator=g) * 0.2)
            else:
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) * (1.2 / fan**0.5 if "embed_tokens" not in name else 0.7))


def build(name, seed, text, vision, **more):
    image_token = name != "flat"
    tok = tokenizer(image_token)
    text = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                       tie_word_embeddings=False, attn_implementation="eager", **text)
    vision = CLIPVisionConfig(attn_implementation="eager", **vision)
    index = tok.convert_tokens_to_ids("<image>") if image_token else VOCABULARY - 1
    c = LlavaConfig(vision_config=vision, text_config=text, image_token_index=index, tie_word_embeddings=False, **more)
    model = LlavaForConditionalGeneration(c).eval()
    randomise(model, seed)
    return tok, model


def summary(x):
    x = x.double()
    return {"shape": list(x.shape), "sum": x.sum().item(), "abs_sum": x.abs().sum().item(), "first": [round(v, 6) for v in x.flatten()[:24].tolist()],
            "last": [round(v, 6) for v in x.flatten()[-24:].tolist()]}


def compute(model, ids, pixels, steps):
    embed = model.get_input_embeddings()
    with torch.no_grad():
        tower = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        layers = model.config.vision_feature_layer
        layers = [layers] if isinstance(layers, int) else layers
        drop = 1 if model.config.vision_feature_select_strategy == "default" else 0
        features = torch.cat([tower[i][:, drop:] for i in layers], -1)
        projected = model.model.multi_modal_projector(features)
        own = model.get_image_features(pixel_values=pixels)
        own = torch.stack(list(own)) if isinstance(own, (list, tuple)) else own
        assert torch.allclose(own.reshape(projected.shape), projected, atol=1e-5)
        out = model(input_ids=ids, pixel_values=pixels, use_cache=False).logits[0]
        greedy = model.generate(input_ids=ids, pixel_values=pixels, do_sample=False, max_new_tokens=steps, pad_token_id=0, eos_token_id=2, bos_token_id=1)
        top2 = torch.topk(out[-1], 2).values
        print("   margin", (top2[0] - top2[1]).item(), "largest", out.abs().max().item())
    n = ids.shape[1]
    rows = sorted({0, n // 3, n // 2, n - 2, n - 1})
    return {"features": summary(features), "projected": summary(projected), "logit_rows": rows,
            "logits": [[round(v, 5) for v in out[r].tolist()] for r in rows], "max_abs_logit": out.abs().max().item(),
            "greedy": greedy[0, n:].tolist()}


def conversations():
    return [(["rgb.png"], "What is in this picture?"), (["j420.jpg", "tall.png"], "Describe the difference between the two images.")]


def processor(tok, c):
    side = c.vision_config.image_size
    return LlavaProcessor(image_processor=CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}), tokenizer=tok,
                          patch_size=c.vision_config.patch_size, vision_feature_select_strategy=c.vision_feature_select_strategy,
                          image_token="<image>", num_additional_image_tokens=1, chat_template=TEMPLATE)


def cases(model, p):
    out = []
    for pictures, question in conversations():
        content = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": question}]
        prompt = p.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = p(images=[load_image(str(PICTURES / f)) for f in pictures], text=prompt, return_tensors="pt", images_kwargs={"input_data_format": "channels_last"})
        case = {"pictures": pictures, "question": question, "prompt": prompt, "ids": inputs["input_ids"][0].tolist()}
        case |= compute(model, inputs["input_ids"], inputs["pixel_values"], 12)
        case["text"] = p.tokenizer.decode(case["greedy"], skip_special_tokens=True)
        out.append(case)
    return out


def hf(name, tok, model, rename):
    d = MODELS / name
    d.mkdir(parents=True)
    p = processor(tok, model.config)
    model.save_pretrained(d)
    p.save_pretrained(d)
    state = load_file(d / "model.safetensors")
    if rename:
        def new(key):
            if key.startswith("language_model.model."):
                return "model.language_model." + key[len("language_model.model."):]
            return key[len("language_model."):] if key.startswith("language_model.") else "model." + key
        state = {new(key): t for key, t in state.items()}
    save_file({key: t.contiguous() for key, t in state.items()}, d / "model.safetensors", {"format": "pt"})
    for stale in ("generation_config.json", "special_tokens_map.json"):
        (d / stale).unlink(missing_ok=True)
    finish(d, cases(model, p))


def flat(name, tok, model):
    """Writes the layout of LLaVA's own releases. Their code splits a prompt at <image>,
    encodes each part with a BOS and drops all BOS but the first."""
    d = MODELS / name
    d.mkdir(parents=True)
    with torch.no_grad():
        for x in model.parameters():  # not model.half(), which would round the rotary frequencies too
            x.copy_(x.half().float())
    state, out = {k: v.half() for k, v in model.state_dict().items()}, {}
    for key, t in state.items():
        if key.startswith("model.language_model."):
            key = "model." + key[len("model.language_model."):]
        elif key.startswith("model.vision_tower."):
            key = "model.vision_tower." + key[len("model."):]
        elif key.startswith("model.multi_modal_projector."):
            _, _, layer, kind = key.split(".")
            key = f"model.mm_projector.{'0' if layer == 'linear_1' else '2'}.{kind}"
        out[key] = t.contiguous()
    out["model.vision_tower.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(out, d / "model.safetensors", {"format": "pt"})
    t = model.config.text_config
    (d / "config.json").write_text(json.dumps({
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "bos_token_id": 1, "eos_token_id": 2, "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu", "hidden_size": t.hidden_size, "image_aspect_ratio": "pad", "intermediate_size": t.intermediate_size,
        "max_position_embeddings": t.max_position_embeddings, "mm_hidden_size": model.config.vision_config.hidden_size, "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False, "mm_use_im_start_end": False, "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "num_attention_heads": t.num_attention_heads, "num_hidden_layers": t.num_hidden_layers,
        "num_key_value_heads": t.num_key_value_heads, "pad_token_id": 0, "rms_norm_eps": 1e-5, "rope_scaling": None, "tie_word_embeddings": False,
        "torch_dtype": "float16", "use_mm_proj": True, "vocab_size": t.vocab_size}, indent=2) + "\n")
    tok.save_pretrained(d)
    (d / "special_tokens_map.json").unlink(missing_ok=True)
    side, index, tokens = 28, model.config.image_token_id, 16
    p = LlavaImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_pad=True)
    system = ("A chat between a curious user and an artificial intelligence assistant. "
              "The assistant gives helpful, detailed, and polite answers to the user's questions.")
    cases = []
    for pictures, question in conversations():
        prompt = system + " USER: " + "<image>\n" * len(pictures) + question + " ASSISTANT:"
        ids = []
        for i, part in enumerate(prompt.split("<image>")):
            encoded = tok(part).input_ids
            assert encoded[0] == 1
            ids += encoded if i == 0 else [index] * tokens + encoded[1:]
        pixels = torch.cat([p(load_image(str(PICTURES / f)), input_data_format="channels_last", return_tensors="pt")["pixel_values"] for f in pictures])
        case = {"pictures": pictures, "question": question, "prompt": prompt, "ids": ids}
        case |= compute(model, torch.tensor([ids]), pixels, 12)
        case["text"] = tok.decode(case["greedy"], skip_special_tokens=True)
        cases.append(case)
    finish(d, cases)


def finish(d, cases):
    (d / "golden.json").write_text(json.dumps({"command": "python llava.py", "versions": {
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}, "cases": cases}, indent=1) + "\n")
    print(d.name, [c["greedy"] for c in cases], [len(c["ids"]) for c in cases])


def main():
    torch.set_num_threads(1)
    shutil.rmtree(MODELS, ignore_errors=True)
    text = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, head_dim=8, intermediate_size=48)
    vision = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7)
    hf("dense", *build("dense", 31, text, vision), False)
    pruned = text | dict(num_attention_heads=3, num_key_value_heads=3, intermediate_size=37, num_hidden_layers=2)
    hf("pruned", *build("pruned", 32, pruned, vision | dict(hidden_act="gelu", num_hidden_layers=2, patch_size=9), vision_feature_layer=[-2, -1],
                        vision_feature_select_strategy="full"), True)
    flat("flat", *build("flat", 33, text, vision | dict(hidden_size=64, num_attention_heads=1)))


if __name__ == "__main__":
    main()
