"""PromptSRC: deep prompts that stay in agreement with the frozen model."""

from acclimate.methods.promptsrc.method import PromptSRC, PromptSRCConfig

__all__ = ["PromptSRC", "PromptSRCConfig"]
