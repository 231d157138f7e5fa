"""Classifiers on frozen features the plain way: one image and one class at a time."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def text_features(world, sentences):
    """Unit features of sentences the plain way: padded to the full length, through transformers' own forward."""
    length = world.backbone.context_length
    tokens = world.backbone.tokenizer.tokenizer(
        sentences, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return F.normalize(world.plain.get_text_features(tokens["input_ids"]).pooler_output, dim=-1)


def loop_logits(world, weight, features):
    """s cos(x, w_c) + b, one image and one class at a time."""
    scale = float(world.plain.logit_scale.exp())
    bias = float(world.plain.logit_bias) if hasattr(world.plain, "logit_bias") else 0.0
    rows = []
    for x in features:
        rows.append(torch.stack([scale * (x @ w) / (x.norm() * w.norm()) + bias for w in weight]))
    return torch.stack(rows)


def loop_loss(logits, labels):
    terms = [-(row[label] - torch.log(torch.exp(row - row.max()).sum()) - row.max())
             for row, label in zip(logits, labels, strict=True)]  # fmt: skip
    return sum(terms) / len(terms)
