"""`GenerativeVLM`: an image-text-to-text model behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isqrt

import torch
from torch import Tensor

from acclimate.backbones.generative import answering
from acclimate.backbones.generative.connecting import LearnedConnector
from acclimate.backbones.generative.conversation import Conversation
from acclimate.backbones.generative.conversing import ConversingVLM, Images, prompts_of
from acclimate.backbones.generative.examples import Opening
from acclimate.backbones.generative.lowrank import ALL, LowRankAdapter
from acclimate.backbones.recording import frozen, watched_reading
from acclimate.errors import BackboneError

MAX_NEW_TOKENS = 64


class GenerativeVLM(ConversingVLM):
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
        behind: Opening | None = None,
    ) -> Tensor:
        """Final hidden states (B, D) at the last token of each prompt.

        Args:
            conversations: responses, where there are any, are left out.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            shown, behind: as in `generate`; without them, gradients are let through.
        """
        if not len(conversations):
            return torch.zeros(0, self.token_width, device=self.device, dtype=self.dtype)
        with self.lock:
            if shown is None and behind is None:
                hidden, _, _ = self._run(prompts_of(conversations), image_tokens, exemplars)
                return hidden[:, -1]
            states = torch.zeros(len(conversations), self.token_width, device=self.device, dtype=self.dtype)
            with torch.no_grad():
                for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown, behind):
                    for row, branch, number in places:
                        states[number] = prefix.last[row, branch]
            return states

    def score(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        shown: Sequence[int] | None = None,
        behind: Opening | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log probabilities of given answers, all from one pass over image and prompt.

        Args:
            conversations: responses, where there are any, are left out.
            answers: A texts.
            image_tokens: as in `response_logits`.
            exemplars: as in `response_logits`.
            shown, behind: as in `generate`.

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
        alone = behind is None and len(conversations) == 1
        with frozen(), self.lock, self._watched(conversations[0], image_tokens) if alone else nullcontext():
            for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown, behind):
                found = answering.score(self._family, prefix, ids)
                for row, branch, number in places:
                    totals[number] = found[row, branch]
        return totals, counts

    def _watched(self, conversation: Conversation, images: Images) -> AbstractContextManager[None]:
        """Return what stands around the reading of a prompt, for an image of the usual shape whose parts are known."""
        image, first = (conversation.prompt == self._family.image_id).nonzero()[:, 0], self._family.parts_from
        if not isinstance(images, Tensor) or len(image) != self.image_tokens or first is None:
            return nullcontext()
        side, layers = isqrt(self.image_tokens - first), int(self._family.text_config.num_hidden_layers)
        return watched_reading(self, (side, side), image[first:].to(self.device), layers)

    @torch.no_grad()
    def generate(
        self,
        conversations: Sequence[Conversation],
        image_tokens: Images,
        exemplars: Tensor | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        shown: Sequence[int] | None = None,
        beams: int = 1,
        behind: Opening | None = None,
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
            behind: the examples that the conversations were made with; they run once for all calls.
        """
        if not len(conversations):
            return []
        self._check_room(conversations, max_new_tokens, "the longest answer may have")
        written = [""] * len(conversations)
        with self.lock:
            for prefix, places in self._prefixes(conversations, image_tokens, exemplars, shown, behind):
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
