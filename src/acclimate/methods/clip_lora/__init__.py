"""CLIP-LoRA: low-rank changes of the attention weights of both towers."""

from acclimate.methods.clip_lora.method import CLIPLoRA, CLIPLoRAConfig

__all__ = ["CLIPLoRA", "CLIPLoRAConfig"]
