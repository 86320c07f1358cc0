"""A LLaMA whose layers differ in heads and neurons; written by mop beside config.json.

Every layer is the decoder layer of transformers, made with a config of its own: the global
one, changed by per_layer_config. A block named in a layer's "skip" adds nothing. Loads with
trust_remote_code=True in transformers 4.57 and 5, PEFT, lm-evaluation-harness and vLLM.
"""

import contextlib
import copy
import dataclasses

import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import ALL_ATTENTION_FUNCTIONS, LlamaDecoderLayer, LlamaForCausalLM, LlamaModel


class MopLlamaConfig(LlamaConfig):
    model_type = "mop_llama"

    def validate_architecture(self):
        """Overrides a check of transformers 5: head_dim is given, so the heads need not divide the width."""

    if dataclasses.is_dataclass(LlamaConfig):  # transformers 5

        def __post_init__(self, per_layer_config=None, **kwargs):
            if per_layer_config:
                # Caches are allocated for every layer: a layer without attention gets the smallest.
                one = {"num_attention_heads": 1, "num_key_value_heads": 1}
                kwargs["per_layer_config"] = {i: {**(one if "attention" in o.get("skip", ()) else {}), **o} for i, o in per_layer_config.items()}
            super().__post_init__(**kwargs)
            self.allow_global_per_layer_attribute_access = True  # many readers know only global values


if dataclasses.is_dataclass(LlamaConfig):
    from huggingface_hub.dataclasses import strict

    MopLlamaConfig = strict(MopLlamaConfig)  # collects the validators again, with the override


def layer_config(config, layer):
    per_layer = config.per_layer_config
    if not isinstance(per_layer, dict):  # transformers 5
        return per_layer[layer]
    out = copy.copy(config)
    out.skip = []
    overrides = {int(i): o for i, o in per_layer.items()}  # transformers 5 pads the numbers
    for key, value in overrides.get(layer, {}).items():
        setattr(out, key, value)
    return out


class NoHeads(nn.Module):
    """Stands for the attention of a layer that has no heads."""

    def __init__(self, config, own, layer_idx):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.cached = (own.num_key_value_heads, own.head_dim)

    def forward(self, hidden_states, **kwargs):
        # Engines take the number of earlier tokens from the cache of any layer, so every layer has an entry.
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        if cache is not None:
            batch, tokens, _ = hidden_states.shape
            nothing = hidden_states.new_zeros(batch, self.cached[0], tokens, self.cached[1])
            cache.update(nothing, nothing, self.layer_idx)
        if False:  # vLLM searches the source of every layer's attention for this call
            attend = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
            attend(self, None, None, None, None)
        return torch.zeros_like(hidden_states), None


class NoNeurons(nn.Module):
    """Stands for the MLP of a layer that has no neurons."""

    def forward(self, hidden_states):
        return torch.zeros_like(hidden_states)


def decoder_layer(config, layer_idx):
    own = layer_config(config, layer_idx)
    layer = LlamaDecoderLayer(own, layer_idx)
    layer.self_attn.config = config  # the attention implementation may be chosen later, for the whole model
    if "attention" in own.skip:
        layer.self_attn, layer.input_layernorm = NoHeads(config, own, layer_idx), nn.Identity()
    if "mlp" in own.skip:
        layer.mlp, layer.post_attention_layernorm = NoNeurons(), nn.Identity()
    return layer


@contextlib.contextmanager
def without_layers(config):
    """The constructors of transformers make no layers meanwhile, but set up this very config."""
    layers, config.num_hidden_layers = config.num_hidden_layers, 0
    try:
        yield
    finally:
        config.num_hidden_layers = layers


class MopLlamaModel(LlamaModel):
    config_class = MopLlamaConfig

    def __init__(self, config):
        with without_layers(config):
            super().__init__(config)
        self.layers = nn.ModuleList(decoder_layer(config, i) for i in range(config.num_hidden_layers))
        self.post_init()


class MopLlamaForCausalLM(LlamaForCausalLM):
    config_class = MopLlamaConfig

    def __init__(self, config):
        with without_layers(config):
            super().__init__(config)
        self.model = MopLlamaModel(config)
        self.post_init()
