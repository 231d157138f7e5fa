"""Names of files in open_clip's layout; importing this needs no torch."""

from __future__ import annotations

CONFIG = "open_clip_config.json"
CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZERS = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
SAFE = ".safetensors"
PICKLED = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (SAFE, *PICKLED)
