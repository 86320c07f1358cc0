"""The config of a Nemotron-NAS model; written by mop beside config.json, for vLLM.

vLLM's own DeciLM reads block_configs as objects. Loads with trust_remote_code=True.
"""

import dataclasses
from types import SimpleNamespace

from transformers import LlamaConfig


class NemotronNASConfig(LlamaConfig):
    model_type = "nemotron-nas"

    def validate_architecture(self):
        """Overrides a check of transformers 5: head_dim is given, so the heads need not divide the width."""

    @property
    def block_configs(self):
        blocks = self.__dict__.get("block_configs", [])
        return [SimpleNamespace(**{part: SimpleNamespace(**values) for part, values in b.items()}) for b in blocks]

    @block_configs.setter
    def block_configs(self, blocks):
        self.__dict__["block_configs"] = blocks


if dataclasses.is_dataclass(LlamaConfig):  # transformers 5
    from huggingface_hub.dataclasses import strict

    NemotronNASConfig = strict(NemotronNASConfig)  # collects the validators again, with the override
