"""Texts to token ids as the family's own tokenizer makes them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.towers import ClassTokens
from acclimate.counting import counted
from acclimate.errors import LONGEST_WORD, BackboneError, ConfigError, brief

log = logging.getLogger("acclimate.backbones")

# Texts that tell tokenizers of one vocabulary apart: case, digits, punctuation, blanks, accents, other scripts.
PROBE = (
    "a photo of a bare land.",
    "A Photo of the STORAGE tanks, type of land use",
    "an aerial image: 3 x 17 and 2026, no. 1,024.5 (50%)",
    "don't, it's; she'll - well-known_name/other #tag @home",
    "  two   blanks\tand a line\nbreak ",
    "pathology of adenocarcinoma, quartzite, interferometry",
    "café über naïve piñata Ångström",
    "снимок 写真 صورة",
)
# Backbones with this tokenizer keep the identity that they had when only weights counted; never to be edited.
USUAL_TOKENIZER = "b180dc0c2a85d2073b496cab5522444b"


class TextTokenizer:
    """A Hugging Face tokenizer that trims or pads as its tower needs.

    Args:
        tokenizer: the Hugging Face tokenizer.
        context_length: longest sequence; longer texts lose their last words and keep EOS.
        trim: pad to the longest text only, instead of to the full length.

    Raises:
        BackboneError: a tokenizer that adds no EOS.
    """

    def __init__(self, tokenizer: Any, context_length: int, trim: bool) -> None:
        self.tokenizer, self.context_length, self.trim = tokenizer, context_length, trim
        specials = self._ids([""])[0]
        if not specials:
            raise BackboneError("the tokenizer does not end texts with EOS; use the files of the original model")
        self.lead, self.eos = tuple(specials[:-1]), specials[-1]
        pad = tokenizer.pad_token_id
        self.pad = self.eos if pad is None else pad
        self._said = False

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what it makes of texts: its vocabulary, the ids of some probes, and the padding if texts are padded.

        In which files and by which class it is stored does not matter.
        """
        pad = None if self.trim else self.pad
        content = [sorted(self.tokenizer.get_vocab().items()), self._ids(list(PROBE)), pad]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids (N, L) on the CPU, special tokens included."""
        rows = self._ids(list(texts))
        limit = self.context_length
        cut = [index for index, row in enumerate(rows) if len(row) > limit]
        for index in cut:
            rows[index] = [*rows[index][: limit - 1], self.eos]
        if cut and not self._said:
            self._said = True
            first = brief(texts[cut[0]], LONGEST_WORD)
            log.warning("%s cut to %d tokens, first: %r", counted(len(cut), "text is", "texts are"), limit, first)
        return self.pad_rows(rows)

    def check_templates(self, templates: Sequence[str]) -> None:
        """Refuse templates that leave no room for a class, since longer texts lose their last words.

        Args:
            templates: sentences with `{}` for the class.

        Raises:
            ConfigError: one is too long.
        """
        for template in templates:
            size = len(self._ids([template.replace("{}", "x")])[0])
            if size > self.context_length:
                raise ConfigError(
                    f"the template {brief(repr(template))} makes texts of {size} tokens and more, and the text tower "
                    f"reads {self.context_length}; write a shorter one"
                )

    def pad_rows(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Rows of ids as one tensor (N, L): L is the longest row, or the context length if texts are not trimmed."""
        longest = max(map(len, rows), default=0) if self.trim else self.context_length
        return torch.tensor([[*row, *[self.pad] * (longest - len(row))] for row in rows], dtype=torch.long)

    def plain(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        return self._ids([text])[0][len(self.lead) : -1]

    def class_tokens(self, words: Sequence[str]) -> ClassTokens:
        """Token ids of every class and of the full stop and EOS that end its prompt."""
        names, tails = [], []
        skip = len(self.lead)
        for word, sentence in zip(self._ids(list(words)), self._ids([f"{word}." for word in words]), strict=True):
            name, whole = word[skip:-1], sentence[skip:]
            # Where the full stop merges with the word's last token, that token ends the prompt and is not of the name.
            size = next((i for i, (a, b) in enumerate(zip(name, whole, strict=False)) if a != b), len(name))
            names.append(tuple(whole[:size]))
            tails.append(tuple(whole[size:]))
        return ClassTokens(tuple(words), tuple(names), tuple(tails))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, verbose=False)["input_ids"] if texts else []
