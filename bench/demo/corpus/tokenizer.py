"""Trains the demo's tokenizer: BPE with byte fallback, as LLaMA-2's.

    python tokenizer.py STORIES OUT

STORIES is the training text; its first 4000 stories are learned from. Words and
punctuation are merged apart in training (no piece holds both, or crosses a
space); at run time merges apply to the whole text.
"""
import json
import re
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

V, BOS = 1024, 1

stories = open(sys.argv[1]).read().split("<|endoftext|>")[:4000]
words = (w for s in stories for w in re.findall("▁?[A-Za-z]+|▁?[^A-Za-z▁]", "▁" + s.strip().replace(" ", "▁")))
special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
plain = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
plain.train_from_iterator(words, trainers.BpeTrainer(vocab_size=V, special_tokens=special, show_progress=False))

t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
j, p = json.loads(t.to_str()), json.loads(plain.to_str())
j["model"]["vocab"], j["model"]["merges"] = p["model"]["vocab"], p["model"]["merges"]
j["added_tokens"] = [a for a in p["added_tokens"] if a["id"] < 3]
t = Tokenizer.from_str(json.dumps(j))
t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
t.save(f"{sys.argv[2]}/tokenizer.json")
put = lambda name, v: open(f"{sys.argv[2]}/{name}", "w").write(json.dumps(v, indent=2) + "\n")
put("generation_config.json", dict(bos_token_id=BOS, eos_token_id=BOS + 1))
put("tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"]))
put("special_tokens_map.json", dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))
