"""Relevance through attention, written down plainly."""

from __future__ import annotations

import torch


def rolled_out(attentions, gradients):
    """R of equations 5 and 6, one image and one layer after another."""
    images = []
    for image in range(len(attentions[0])):
        found = torch.eye(attentions[0].shape[-1])
        for weights, gradient in zip(attentions, gradients, strict=True):
            mean = torch.stack([(g * a).clamp(min=0) for g, a in zip(gradient[image], weights[image], strict=True)])
            found = found + mean.mean(0) @ found
        images.append(found)
    return torch.stack(images)
