"""`GenerativeVLM`: an image-text-to-text model behind one small interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.generative import answering
from acclimate.backbones.generative.connecting import LearnedConnector
from acclimate.backbones.generative.conversation import Conversation, batch_of, expand
from acclimate.backbones.generative.frozen import FrozenVLM
from acclimate.backbones.generative.images import ImageTokens, image_rows
from acclimate.backbones.generative.lowrank import ALL, LowRankAdapter
from acclimate.backbones.generative.running import Prefix, branched, check_exemplars, forward
from acclimate.backbones.generative.sharing import opening_of, plan, rest_of
from acclimate.errors import BackboneError

Images = Tensor | Sequence[ImageTokens]
MAX_NEW_TOKENS = 64


class GenerativeVLM(FrozenVLM):
    """A frozen image-text-to-text model.

    Image tokens are computed once by `encode` and given to everything else, so the vision tower runs once for an image
    whatever is asked about it. Gradients flow to what a method passes in (image tokens, exemplars) and to the adapter
    that is on, never to the weights. `load_vlm` makes one.

    Args:
        name: Hub id, catalogue id or folder it came from.
        family: its weights, seen as vision tower, connector and language model.
        tokenizer: its Hugging Face tokenizer.
        template: its chat template; None for a family without.
        processor: its image processor's configuration.
        weights: gives the stored (name, tensor) pairs sorted by name, for the fingerprint; None takes the loaded ones.

    Attributes:
        token_width: width D of the language model.
        vision_width: width of the vision tokens before the connector.
        image_tokens: vectors T of an image as `transform` makes it.
        image_size: height and width of the pixels that the vision tower takes.
        context_length: most tokens of a conversation, image and response included.
        vocabulary: number V of tokens that the head knows.
        tokenizer: tokenizer and chat template.
        lock: held while the language model computes, and by an adapter that is on.
    """

    def conversation(
        self,
        instruction: str,
        response: str | None = None,
        *,
        exemplars: int = 0,
        image_tokens: int | ImageTokens | None = None,
    ) -> Conversation:
        """One user turn about one image, and the assistant's response, as the model's own chat template writes them.

        The image stands first, then the exemplars, then the instruction. With and without exemplars all other ids are
        the same; the prompt is the same with and without a response. What the template writes behind the token that
        ends the response is left out.

        Args:
            instruction: what is asked.
            response: the answer to train on; None: the conversation ends where the answer begins.
            exemplars: number K of further vectors.
            image_tokens: number of vectors of the image, or its tokens where it has its own shape; None: as many as
                `encode` gives.

        Raises:
            BackboneError: a conversation longer than the context, or words that have a meaning of their own in the
                template.
        """
        own = image_tokens if isinstance(image_tokens, ImageTokens) else None
        count = len(own.tokens) if own else self.image_tokens if image_tokens is None else image_tokens
        lead = self.tokenizer.prompt(instruction, own.tiles if own else (0, 0))
        ids = expand(lead, self._family.image_id, self._closing, int(count), exemplars)  # type: ignore[arg-type]
        prompt = len(ids)
        if response is not None:
            ids += self.tokenizer.response(response)
        if len(ids) > self.context_length:
            answer = f", {len(ids) - prompt} of them the response" if response is not None else ""
            answer = (f", {exemplars} of them behind it" if exemplars else "") + answer
            advice = "take fewer visual tokens, or " if exemplars > 1 else ""
            raise BackboneError(
                f"a conversation has {len(ids)} tokens ({count} of them the image{answer}), and {self.name} reads "
                f"{self.context_length}; {advice}shorten the instruction or the response"
            )
        marked = torch.zeros(len(ids), dtype=torch.bool)
        marked[prompt:] = True
        return Conversation(torch.tensor(ids, dtype=torch.long), marked, own.grid if own else None)

    # --------------------------------------------------------------------------------------------------------- forward

    def response_logits(
        self, conversations: Sequence[Conversation], image_tokens: Images, exemplars: Tensor | None = None
    ) -> Tensor:
        """Logits that predict the tokens of the responses; the head sees no other position.

        Args:
            conversations: with responses, of any lengths.
            image_tokens: (B, T * D) or (B, T, D) from `encode` or of the caller's own making; or `ImageTokens`.
            exemplars: (B, K, D), for conversations with K exemplars.

        Returns:
            (sum of the responses' lengths, V) in float32, conversation by conversation; the targets are
            `conversation.ids[conversation.response]`.
        """
        if not len(conversations):
            return torch.zeros(0, self.vocabulary, device=self.device)
        with self.lock:
            hidden, response, _ = self._run(conversations, image_tokens, exemplars)
            before = torch.zeros_like(response)
            before[:, :-1] = response[:, 1:]  # a token is predicted by the one before it
            return self._family.logits(hidden[before])

    def prompt_states(
        self,
        conversations: Sequence[Conversation],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        shown: Sequence[int] | None = None,
    ) -> Tensor:
        """Final hidden states (B, D) at the last token of each prompt.

        Args:
            conversations: responses, where there are any, are left out.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            shown: as in `generate`; none lets gradients through.
        """
        if not len(conversations):
            return torch.zeros(0, self.token_width, device=self.device, dtype=self.dtype)
        with self.lock:
            if shown is None:
                hidden, _, _ = self._run(_prompts(conversations), image_tokens, exemplars)
                return hidden[:, -1]
            states = torch.zeros(len(conversations), self.token_width, device=self.device, dtype=self.dtype)
            with torch.no_grad():
                for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown):
                    for row, branch, number in places:
                        states[number] = prefix.last[row, branch]
            return states

    @torch.no_grad()
    def score(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        shown: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log probabilities of given answers, all from one pass over image and prompt.

        Args:
            conversations: responses, where there are any, are left out.
            answers: A texts.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            shown: as in `generate`.

        Returns:
            (B, A) in float32, summed over each answer's tokens and the one that ends it; and their numbers (A,).

        Raises:
            BackboneError: no answers, or one that does not fit into the context.
        """
        if not answers:
            raise BackboneError("no answers to score; give at least one")
        ids = [self.tokenizer.response(answer) for answer in answers]
        counts = torch.tensor([len(answer) for answer in ids], device=self.device)
        if not len(conversations):
            return torch.zeros(0, len(answers), device=self.device), counts
        self._check_room(conversations, max(map(len, ids)), "the longest answer has")
        totals = torch.zeros(len(conversations), len(answers), device=self.device)
        with self.lock:
            for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown):
                found = answering.score(self._family, prefix, ids)
                for row, branch, number in places:
                    totals[number] = found[row, branch]
        return totals, counts

    @torch.no_grad()
    def generate(
        self,
        conversations: Sequence[Conversation],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        shown: Sequence[int] | None = None,
        beams: int = 1,
    ) -> list[str]:
        """The most probable response, token by token (greedy) or by a beam search, without the token that ends it.

        What conversations about one image begin with runs through the model once; its keys and values are kept while
        they are answered.

        Args:
            conversations: responses, where there are any, are left out.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            max_new_tokens: most tokens of a response, at least 1.
            shown: which of the images, and exemplars, each conversation is about; none: it is the one in its place.
            beams: responses that are followed at once, see `beams.search`; 1 is greedy.
        """
        if not len(conversations):
            return []
        self._check_room(conversations, max_new_tokens, "the longest answer may have")
        written = [""] * len(conversations)
        with self.lock:
            for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown):
                made = answering.generate(self._family, prefix, self.tokenizer.ends, max_new_tokens, beams)
                for row, branch, number in places:
                    written[number] = self.tokenizer.decode(made[row][branch])
        return written

    def adapter(
        self, rank: int, alpha: float, dropout: float = 0.0, targets: str | Sequence[str] = ALL
    ) -> LowRankAdapter:
        """A new LoRA adapter of the language model, see `LowRankAdapter`."""
        return LowRankAdapter(self, rank, alpha, dropout, targets).to(self.device)

    def learned_connector(self) -> LearnedConnector:
        """A copy of the connector to be learned, see `LearnedConnector`."""
        return LearnedConnector(self).to(self.device)

    def _prefixes(
        self,
        conversations: Sequence[Conversation],
        images: Images,
        exemplars: Tensor | None,
        shown: Sequence[int] | None,
    ) -> Iterator[tuple[Prefix, list[tuple[int, int, int]]]]:
        """Prefixes of all conversations, with row, branch and number of each; one is used before the next is made."""
        prompts = _prompts(conversations)
        for group in plan(self._family, prompts, shown):
            first = [some[0] for some in group.rows]
            about = first if shown is None else [shown[number] for number in first]
            own = images if about == list(range(len(images))) else _chosen(images, about)
            beside = exemplars if exemplars is None or own is images else _chosen(exemplars, about)
            pairs = list(zip(group.rows, group.openings, strict=True))
            begun = [opening_of(prompts[some[0]], size or len(prompts[some[0]])) for some, size in pairs]
            prefix = self._prefix(begun, own, beside)
            if any(group.openings):
                rests = [[rest_of(prompts[number], size) for number in some] for some, size in pairs]
                prefix = branched(self._family, prefix, rests)
            yield prefix, group.places

    def _prefix(self, prompts: Sequence[Conversation], images: Images, exemplars: Tensor | None) -> Prefix:
        from transformers import DynamicCache

        cache = DynamicCache()
        hidden, _, position = self._run(prompts, images, exemplars, cache)
        mask = batch_of(prompts, self.device).mask
        depth = (mask.long().cumsum(1) - 1).clamp(min=0)
        return Prefix(cache, mask[:, None], depth, position[:, None], hidden[:, -1:])

    def _run(
        self, conversations: Sequence[Conversation], images: Images, exemplars: Tensor | None, cache: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Final hidden states (B, L, D), where responses stand (B, L), and the next positions (B,)."""
        family, batch = self._family, batch_of(conversations, self.device)
        check_exemplars(batch, exemplars, self.token_width)
        counts = (batch.ids == family.image_id).sum(1).tolist()
        rows = image_rows(images, counts, family.payload, self.token_width)
        hidden, position = forward(family, batch, rows, exemplars, [c.grid for c in conversations], cache)
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


def _prompts(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations without their responses."""
    return [
        Conversation(one.prompt, torch.zeros(int((~one.response).sum()), dtype=torch.bool), one.grid)
        for one in conversations
    ]
