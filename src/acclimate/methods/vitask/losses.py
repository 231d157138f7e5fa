"""The three losses of VITask, on logits at the positions of the responses: mean over tokens, then over images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.parts.teaching import token_mean


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(softmax(first) || softmax(second)) (T,) of logits (T, V), in full precision."""
    p, q = first.float().log_softmax(dim=-1), second.float().log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def alignment(
    plain: Tensor, exemplar: Tensor, lengths: Tensor, *, detach: bool = True, direction: str = "student-teacher"
) -> Tensor:
    """Return the loss of response distribution alignment (Bai et al. 2024, equation 3), temperature 1.

    Args:
        plain: (T, V) logits without exemplar, the student.
        exemplar: (T, V) logits with it, the teacher.
        lengths: as in `token_mean`.
        detach: whether the teacher gets no gradient, as published.
        direction: KL(student || teacher), as published, or "teacher-student".
    """
    teacher = exemplar.detach() if detach else exemplar
    pair = (plain, teacher) if direction == "student-teacher" else (teacher, plain)
    return token_mean(divergence(*pair), lengths)


def contrast(own: Tensor, other: Tensor, targets: Tensor, lengths: Tensor, *, detach: bool = False) -> Tensor:
    """Return the loss of contrastive response tuning (Bai et al. 2024, equations 5 and 6).

    -log softmax(y_own - y_other) at the tokens of the response: what the own image makes likelier than another one.
    With equal logits it is ln V.

    Args:
        own: (T, V) logits with the image that the response belongs to.
        other: (T, V) logits of the same response with an image of another one.
        targets: (T,) token ids.
        lengths: as in `token_mean`.
        detach: whether `other` gets no gradient.
    """
    difference = (
        own.float() - (other.detach() if detach else other).float()
    )  # bf16 would lose it: a step of 0.125 at 16
    return token_mean(F.cross_entropy(difference, targets, reduction="none"), lengths)


def among(lengths: Tensor, chosen: Tensor) -> Tensor:
    """Return how many tokens of each image (B,) are among the chosen ones.

    Args:
        lengths: (B,) numbers of tokens, which add up to T.
        chosen: (T,) bool.
    """
    owners = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    return torch.zeros_like(lengths).index_add(0, owners, chosen.to(lengths.dtype))
