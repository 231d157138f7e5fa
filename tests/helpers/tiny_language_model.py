"""A tiny causal language model with random weights, which answers in words of a small vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

TEXT = (
    "a an the of and with in on small large round long dark bright red blue green brown smooth rough soft wet thin "
    "wide fur nose ears tail water bank stone leaf wing roof shape colour line edge surface texture picture shows has "
    "looks like seen from above near between under many few"
)
WORDS = TEXT.split()
CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def tiny_language_model(folder: Path, seed: int = 0, chat: bool = True) -> Path:
    """Write a model of 20,000 weights in Hugging Face format."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    if chat:
        fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=256, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1
    )
    model = GPT2LMHeadModel(config)
    model.generation_config.do_sample = True  # a server takes this from here
    model.save_pretrained(folder)
    return folder
