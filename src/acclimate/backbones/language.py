"""Causal language models, for sentences that are written once before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from acclimate.backbones.checkpoints import first_line, load_model, model_config, quiet, weight_files
from acclimate.backbones.hub import find_folder
from acclimate.errors import BackboneError


class LanguageModel:
    """A frozen causal language model with its tokenizer.

    Made by `load_language_model`.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer

    @torch.no_grad()
    def sample(
        self,
        question: str,
        seeds: Sequence[int],
        *,
        instruction: str = "",
        temperature: float = 1.0,
        max_tokens: int = 50,
    ) -> list[str]:
        """Return one answer for each seed.

        Args:
            question: what is asked, as a user's turn where the tokenizer has a chat template, else as plain text.
            seeds: one for each answer; those given together are drawn together, from the first of them.
            instruction: what the model is told first.
            temperature: of the softmax over tokens; 0 takes the most probable one.
            max_tokens: longest answer.
        """
        inputs = self._inputs(question, instruction)
        sampled = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seeds[0])
            made = self.model.generate(
                inputs.expand(len(seeds), -1),
                attention_mask=torch.ones(len(seeds), inputs.shape[1], dtype=torch.long),
                max_new_tokens=max_tokens,
                pad_token_id=self._pad(),
                **(sampled if temperature > 0 else {"do_sample": False}),
            )
        return self.tokenizer.batch_decode(made[:, inputs.shape[1] :], skip_special_tokens=True)

    def _inputs(self, question: str, instruction: str) -> torch.Tensor:
        if not self.tokenizer.chat_template:
            text = f"{instruction}\n\n{question}\n".lstrip()
            return self.tokenizer(text, return_tensors="pt").input_ids
        turns = [{"role": "user", "content": f"{instruction}\n\n{question}".strip()}]
        found = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        return found["input_ids"]

    def _pad(self) -> int:
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        return 0


def load_language_model(name: str) -> LanguageModel:
    """Load a frozen causal language model in evaluation mode, on the CPU.

    Args:
        name: a folder in Hugging Face format, or a Hub id ("org/name").

    Raises:
        BackboneError: nothing found under that name, an unreachable Hub, no language model, or files that are missing,
            damaged or pickled.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_folder(name, "language model", "a URL of a server")
    model_config(folder)
    files = weight_files(folder)
    model = load_model(
        folder, AutoModelForCausalLM, files, torch.float32, "use a complete checkpoint", trust_remote_code=False
    )
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise BackboneError(
            f"{folder}: the tokenizer cannot be read ({first_line(error)}); download it again"
        ) from error
    return LanguageModel(name, model.eval().requires_grad_(False), tokenizer)
