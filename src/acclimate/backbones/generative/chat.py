"""Instructions and responses to token ids, as the model's own chat template writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from acclimate.backbones.checkpoints import first_line
from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.tokenizer import PROBE
from acclimate.errors import BackboneError, brief

KEPT = 4096  # prompts and responses whose ids are remembered: a data set has few of them, or many that come once
_SAMPLE = "x"  # an instruction: what follows it in a prompt is the same for all of them


class ChatTokenizer:
    """A tokenizer and a chat template.

    Args:
        tokenizer: the Hugging Face tokenizer.
        template: the chat template, in Jinja; None for a family that has its own way.
        family: says where the image stands.

    Attributes:
        ends: ids of the tokens that end a response.
    """

    def __init__(self, tokenizer: Any, template: str | None, family: VLMFamily) -> None:
        self.tokenizer, self.template, self._family = tokenizer, template, family
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._specials = sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)
        self._prompts, self._responses = lru_cache(KEPT)(self._prompt), lru_cache(KEPT)(self._response)
        self.ends = {self.response(_SAMPLE)[-1]}
        if tokenizer.eos_token_id is not None:
            self.ends.add(int(tokenizer.eos_token_id))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its vocabulary, the ids of some probes, and the template."""
        content = [sorted(self.tokenizer.get_vocab().items()), [self.plain(text) for text in PROBE], self.template]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def plain(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def prompt(
        self, instruction: str, tiles: tuple[int, int] = (0, 0), examples: tuple[tuple[str, str], ...] = ()
    ) -> tuple[int, ...]:
        """Ids up to where the response begins, with one image id for each part of each image.

        Args:
            instruction: what is asked about the image.
            tiles: rows and columns that the image was cut into.
            examples: questions and answers that stand before it, each about an image of its own that is cut alike.

        Raises:
            BackboneError: an instruction with a token of the template's own in it.
        """
        return self._prompts(instruction, tiles, examples)

    def _prompt(
        self, instruction: str, tiles: tuple[int, int], examples: tuple[tuple[str, str], ...]
    ) -> tuple[int, ...]:
        self._check(instruction, "instruction")
        for asked, answer in examples:
            self._check(asked, "question of an example")
            self._check(answer, "answer of an example")
        rendered = self._render(instruction, examples=examples)
        ids = tuple(self._ids(self._family.framed(rendered, self.tokenizer, tiles)))
        if self._family.image_id not in ids:
            raise BackboneError("the chat template writes no place for the image; copy it from the original model")
        return ids

    def response(self, text: str) -> tuple[int, ...]:
        """Ids of a response behind any prompt, with the token that ends it.

        Raises:
            BackboneError: a response with a token of the template's own in it, or no token that ends it.
        """
        return self._responses(text)

    def _response(self, text: str) -> tuple[int, ...]:
        self._check(text, "response")
        prompt, whole = self._render(_SAMPLE), self._render(_SAMPLE, text)
        body = text if text in whole[len(prompt) :] else text.strip()  # some templates trim
        if body not in whole:
            raise BackboneError("the chat template leaves out responses; copy it from the original model")
        rest = whole[len(prompt) :] if whole.startswith(prompt) else whole[whole.rindex(body) :]
        size = rest.index(body) + len(body)
        after = rest[size:].lstrip()
        end = next((token for token in self._specials if after.startswith(token)), self.tokenizer.eos_token)
        if end is None:
            raise BackboneError("neither the chat template nor the tokenizer ends responses; copy them again")
        before, both = self._ids(prompt), self._ids(prompt + rest[:size])
        # Where its first letters merge with the prompt's last, they are written apart, as they would be generated.
        ids = both[len(before) :] if both[: len(before)] == before else self.plain(f"{end}{rest[:size]}")[1:]
        return (*ids, int(self.tokenizer.convert_tokens_to_ids(end)))

    def _render(self, instruction: str, response: str | None = None, examples: tuple[tuple[str, str], ...] = ()) -> str:
        own = self._family.plain_text(self.tokenizer, instruction, response)
        if own is not None:
            return self._family.plain_examples(self.tokenizer, examples) + own if examples else own
        turns: list[dict[str, Any]] = []
        for asked, answer in (*examples, (instruction, response)):
            turns.append({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]})
            if answer is not None:
                turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        try:
            return self.tokenizer.apply_chat_template(
                turns, chat_template=self.template, tokenize=False, add_generation_prompt=response is None
            )
        except Exception as error:  # templates raise what they like
            raise BackboneError(
                f"the chat template cannot be followed ({first_line(error)}); copy it from the original model"
            ) from error

    def _ids(self, text: str) -> list[int]:
        begun = self._family.begun(self.tokenizer, text)
        return self.tokenizer(text, add_special_tokens=not begun, verbose=False)["input_ids"]

    def _check(self, text: str, what: str) -> None:
        held = next((token for token in self._specials if token in text), None)
        if held is not None:
            raise BackboneError(
                f"the {what} {brief(repr(text))} holds {held!r}, which has a meaning of its own in this model; "
                "write it otherwise"
            )
