"""A LLaVA whose language model is that of modeling_mop_llama.py; written by mop beside config.json.

Loads with trust_remote_code=True in transformers 4.57 and 5. The classes are transformers'
own: what this file adds is the type of the language model, which they look up by its name.
"""

from transformers import AutoConfig, AutoModel, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llava.modeling_llava import LlavaModel

from .modeling_mop_llama import MopLlamaConfig, MopLlamaModel

try:  # transformers 5 gives the names of stored tensors by the name of a class
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping

    register_checkpoint_conversion_mapping("MopLlavaForConditionalGeneration", get_checkpoint_conversion_mapping("llava"), overwrite=True)
except ImportError:
    pass

AutoConfig.register(MopLlamaConfig.model_type, MopLlamaConfig, exist_ok=True)
AutoModel.register(MopLlamaConfig, MopLlamaModel, exist_ok=True)


class MopLlavaConfig(LlavaConfig):
    pass


class MopLlavaModel(LlavaModel):
    config_class = MopLlavaConfig


class MopLlavaForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = MopLlavaConfig
