"""`ConversingVLM`: conversations of a generative model, and the prefixes that their answers continue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.generative.conversation import Conversation, batch_of, expand
from acclimate.backbones.generative.examples import Opening, common
from acclimate.backbones.generative.frozen import FrozenVLM
from acclimate.backbones.generative.images import ImageTokens, image_rows
from acclimate.backbones.generative.running import Prefix, branched, check_exemplars, forward
from acclimate.backbones.generative.sharing import opening_of, plan, rest_of
from acclimate.counting import counted
from acclimate.errors import BackboneError

Images = Tensor | Sequence[ImageTokens]


class ConversingVLM(FrozenVLM):
    """The part of `GenerativeVLM` that renders conversations and runs them, once where they begin alike."""

    def conversation(
        self,
        instruction: str,
        response: str | None = None,
        *,
        exemplars: int = 0,
        image_tokens: int | ImageTokens | None = None,
        examples: Sequence[tuple[str, str]] = (),
    ) -> Conversation:
        """One user turn about one image, and the assistant's response, as the model's own chat template writes them.

        The image stands first, then the exemplars, then the instruction. With and without exemplars all other ids are
        the same; the prompt is the same with and without a response. What the template writes behind the token that
        ends the response is left out.

        Args:
            instruction: what is asked.
            response: the answer to train on; None: the conversation ends where the answer begins.
            exemplars: number K of further vectors of an image.
            image_tokens: number of vectors of an image, or its tokens where it has its own shape; None: as many as
                `encode` gives.
            examples: questions and answers that stand before it as turns of their own, each about another image with as
                many vectors; see `opening`.

        Raises:
            BackboneError: a conversation longer than the context, or words that have a meaning of their own in the
                template.
        """
        own = image_tokens if isinstance(image_tokens, ImageTokens) else None
        count = len(own.tokens) if own else self.image_tokens if image_tokens is None else image_tokens
        lead = self.tokenizer.prompt(instruction, own.tiles if own else (0, 0), tuple(map(tuple, examples)))  # type: ignore[arg-type]
        shape: Any = (int(count), exemplars, 1 + len(examples))  # type: ignore[arg-type]
        ids = expand(lead, self._family.image_id, self._closing, *shape)
        prompt = len(ids)
        if response is not None:
            ids += self.tokenizer.response(response)
        if len(ids) > self.context_length:
            answer = f", {len(ids) - prompt} of them the response" if response is not None else ""
            answer = (f", {exemplars} of them behind it" if exemplars else "") + answer
            advice = "take fewer visual tokens, or " if exemplars > 1 else ""
            advice = "take fewer examples, or " if examples else advice
            images = f", behind {counted(len(examples), 'example')} with images of their own" if examples else ""
            raise BackboneError(
                f"a conversation has {len(ids)} tokens ({count} of them the image{answer}{images}), and {self.name} "
                f"reads {self.context_length}; {advice}shorten the instruction or the response"
            )
        marked = torch.zeros(len(ids), dtype=torch.bool)
        marked[prompt:] = True
        return Conversation(torch.tensor(ids, dtype=torch.long), marked, own.grid if own else None)

    @torch.no_grad()
    def opening(self, examples: Sequence[tuple[str, str]], images: Tensor, exemplars: Tensor | None = None) -> Opening:
        """Run questions and answers about images of their own, to stand before conversations made with the same.

        Args:
            examples: K questions and answers.
            images: tokens of their images, (K, T * D') or (K, T, D), as `generate` takes them.
            exemplars: (K, E, D) of these images.
        """
        width = self._family.payload if images.ndim == 2 else 1
        how: dict[str, Any] = {"examples": examples, "image_tokens": images.shape[1] // width}
        how["exemplars"] = 0 if exemplars is None else exemplars.shape[1]
        ids = common(self.conversation("a", **how), self.conversation("what?", **how), self._family.image_id)
        together = images.reshape(1, -1, *images.shape[2:])
        beside = None if exemplars is None else exemplars.reshape(1, -1, exemplars.shape[-1])
        whole = int((ids == self._family.image_id).sum()) == len(examples) * how["image_tokens"]
        if not (whole and self._family.continues_images):
            return Opening(together, beside, ids)
        with self.lock:
            begun = Conversation(ids, torch.zeros(len(ids), dtype=torch.bool))
            return Opening(together, beside, ids, self._prefix([begun], together, beside))

    def _prefixes(
        self,
        conversations: Sequence[Conversation],
        images: Images,
        exemplars: Tensor | None,
        shown: Sequence[int] | None,
        behind: Opening | None,
    ) -> Iterator[tuple[Prefix, list[tuple[int, int, int]]]]:
        """Prefixes of all conversations, with row, branch and number of each; one is used before the next is made."""
        prompts, before = prompts_of(conversations), None
        if behind is not None and behind.begins(prompts):
            before, size = behind.prefix, len(behind.ids)
            prompts = [Conversation(rest_of(one, size), one.response[size:], one.grid) for one in prompts]
        elif behind is not None:
            images, exemplars = behind.before(images, exemplars)  # type: ignore[arg-type]  # none have shapes of their own
        for group in plan(self._family, prompts, shown):
            first = [some[0] for some in group.rows]
            about = first if shown is None else [shown[number] for number in first]
            own = images if about == list(range(len(images))) else _chosen(images, about)
            beside = exemplars if exemplars is None or own is images else _chosen(exemplars, about)
            pairs = list(zip(group.rows, group.openings, strict=True))
            begun = [opening_of(prompts[some[0]], size or len(prompts[some[0]])) for some, size in pairs]
            prefix = self._prefix(begun, own, beside, before)
            if any(group.openings):
                rests = [[rest_of(prompts[number], size) for number in some] for some, size in pairs]
                prefix = branched(self._family, prefix, rests)
            yield prefix, group.places

    def _prefix(
        self, prompts: Sequence[Conversation], images: Images, exemplars: Tensor | None, before: Prefix | None = None
    ) -> Prefix:
        from transformers import DynamicCache

        behind = None if before is None else before.repeat(len(prompts))
        cache = DynamicCache() if behind is None else behind.cache
        hidden, _, position = self._run(prompts, images, exemplars, cache, behind)
        mask = batch_of(prompts, self.device).mask
        depth, seen = (mask.long().cumsum(1) - 1).clamp(min=0), mask[:, None]
        if behind is not None:
            depth = torch.cat([behind.depth, depth + behind.seen.sum(-1)], dim=1)
            seen = torch.cat([behind.seen, seen], dim=-1)
        return Prefix(cache, seen, depth, position[:, None], hidden[:, -1:])

    def _run(
        self,
        conversations: Sequence[Conversation],
        images: Images,
        exemplars: Tensor | None,
        cache: Any = None,
        behind: Prefix | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Final hidden states (B, L, D), where responses stand (B, L), and the next positions (B,)."""
        family, batch = self._family, batch_of(conversations, self.device)
        check_exemplars(batch, exemplars, self.token_width)
        counts = (batch.ids == family.image_id).sum(1).tolist()
        rows = image_rows(images, counts, family.payload, self.token_width)
        grids = [one.grid for one in conversations]
        hidden, position = forward(family, batch, rows, exemplars, grids, cache, behind)
        return hidden, batch.response, position

    def _check_room(self, conversations: Sequence[Conversation], more: int, what: str) -> None:
        longest = max(int((~conversation.response).sum()) for conversation in conversations)
        if longest + more > self.context_length:
            raise BackboneError(
                f"{what} {more} tokens and the longest prompt {longest}, and {self.name} reads {self.context_length}; "
                "shorten them"
            )


def _chosen(images: Images, rows: list[int]) -> Any:
    """Some images, or exemplars, again and again where a row comes again."""
    return images[rows] if isinstance(images, Tensor) else [images[row] for row in rows]


def prompts_of(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations without their responses."""
    return [
        Conversation(one.prompt, torch.zeros(int((~one.response).sum()), dtype=torch.bool), one.grid)
        for one in conversations
    ]
