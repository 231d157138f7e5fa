"""`GenerativeVLM`: an image-text-to-text model behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.generative import answering
from acclimate.backbones.generative.connecting import LearnedConnector
from acclimate.backbones.generative.conversation import Conversation, batch_of, expand
from acclimate.backbones.generative.frozen import FrozenVLM
from acclimate.backbones.generative.images import ImageTokens, image_rows
from acclimate.backbones.generative.lowrank import ALL, LowRankAdapter
from acclimate.backbones.generative.running import Prefix, check_exemplars, forward
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
        self, conversations: Sequence[Conversation], image_tokens: Images, exemplars: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (B, D) at the last token of each prompt.

        Args:
            conversations: responses, where there are any, are left out.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
        """
        if not len(conversations):
            return torch.zeros(0, self.token_width, device=self.device, dtype=self.dtype)
        with self.lock:
            hidden, _, _ = self._run(_prompts(conversations), image_tokens, exemplars)
            return hidden[:, -1]

    @torch.no_grad()
    def score(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        image_tokens: Images,
        exemplars: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log probabilities of given answers, all from one pass over image and prompt.

        Args:
            conversations: responses, where there are any, are left out.
            answers: A texts.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.

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
        with self.lock:
            prefix = self._prefix(conversations, image_tokens, exemplars)
            return answering.score(self._family, prefix, ids), counts

    @torch.no_grad()
    def generate(
        self,
        conversations: Sequence[Conversation],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[str]:
        """The most probable response, token by token (greedy), without the token that ends it.

        Args:
            conversations: responses, where there are any, are left out.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            max_new_tokens: most tokens of a response, at least 1.
        """
        if not len(conversations):
            return []
        self._check_room(conversations, max_new_tokens, "the longest answer may have")
        with self.lock:
            prefix = self._prefix(conversations, image_tokens, exemplars)
            made = answering.generate(self._family, prefix, self.tokenizer.ends, max_new_tokens)
        return [self.tokenizer.decode(ids) for ids in made]

    def adapter(
        self, rank: int, alpha: float, dropout: float = 0.0, targets: str | Sequence[str] = ALL
    ) -> LowRankAdapter:
        """A new LoRA adapter of the language model, see `LowRankAdapter`."""
        return LowRankAdapter(self, rank, alpha, dropout, targets).to(self.device)

    def learned_connector(self) -> LearnedConnector:
        """A copy of the connector to be learned, see `LearnedConnector`."""
        return LearnedConnector(self).to(self.device)

    def _prefix(self, conversations: Sequence[Conversation], images: Images, exemplars: Tensor | None) -> Prefix:
        from transformers import DynamicCache

        cache, prompts = DynamicCache(), _prompts(conversations)
        hidden, _, position = self._run(prompts, images, exemplars, cache)
        return Prefix(cache, batch_of(prompts, self.device).mask, position, hidden[:, -1])

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


def _prompts(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations without their responses."""
    return [
        Conversation(one.prompt, torch.zeros(int((~one.response).sum()), dtype=torch.bool), one.grid)
        for one in conversations
    ]
