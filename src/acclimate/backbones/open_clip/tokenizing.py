"""CLIP's own tokenizer: 48,894 merges of byte pairs, which the vocabulary follows from."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

from acclimate.backbones.checkpoints import quiet, read_tokenizer
from acclimate.backbones.open_clip import HERE
from acclimate.backbones.open_clip.names import CONFIG, TOKENIZERS
from acclimate.errors import BackboneError

START, END = "<|startoftext|>", "<|endoftext|>"
ROWS = 49408  # tokens of CLIP's tokenizer
PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))  # bytes that stand for themselves


def clip_tokenizer(context_length: int) -> Any:
    """Return the tokenizer of OpenAI's CLIP, as transformers builds it from its vocabulary and merges.

    Args:
        context_length: longest text in tokens.
    """
    from transformers import CLIPTokenizer

    lines = gzip.decompress((HERE / "clip_merges.txt.gz").read_bytes()).decode().split("\n")
    merges: Any = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    others = [byte for byte in range(256) if byte not in PRINTABLE]
    letters = [*map(chr, PRINTABLE), *(chr(256 + place) for place in range(len(others)))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    with quiet():
        return CLIPTokenizer(
            vocab={word: number for number, word in enumerate(words)},
            merges=merges,
            bos_token=START,
            eos_token=END,
            unk_token=END,
            pad_token=END,
            model_max_length=context_length,
        )


def write_tokenizer(source: Path, named: str | None, rows: int, context_length: int, folder: Path) -> Any:
    """Write the tokenizer of a model into a folder, and return it: the one beside the weights, or CLIP's own.

    Args:
        source: folder of the weights.
        named: the tokenizer that the configuration names; none: CLIP's.
        rows: of the model's table of tokens.
        context_length: longest text in tokens.
        folder: where to.

    Raises:
        BackboneError: it is not there, or cannot be read.
    """
    if any((source / name).is_file() for name in TOKENIZERS[:3]):
        for name in TOKENIZERS:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        return read_tokenizer(folder)
    if named or rows != ROWS:
        words = f"{CONFIG} names the tokenizer {named!r}" if named else f"the model knows {rows} tokens"
        raise BackboneError(
            f"{source}: {words}, and CLIP's own has {ROWS}; copy its files there (tokenizer.json and its like)"
        )
    made = clip_tokenizer(context_length)
    with quiet():
        made.save_pretrained(folder)
    return made
