"""What was learned in the place of words: the nearest words to it, and the domain that an image is taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from acclimate.backbones.backbone import dual_of
from acclimate.backbones.vocabulary import Vocabulary
from acclimate.methods import DomainAttributor, WordLearner
from acclimate.reports.features import as_data
from acclimate.training.feeds import chunks

if TYPE_CHECKING:
    from acclimate.runs import AdaptedModel

MOST = 12  # classes or domains whose vectors are shown
BATCH = 64

Row = Mapping[str, Any]


def nearest_words(model: AdaptedModel, domains: Sequence[str]) -> dict[str, Any] | None:
    """Return the nearest word to each vector that a model has learned in the place of words; none where it has none.

    Args:
        model: what has learned.
        domains: of its training images, sorted.

    Returns:
        `names`, of what the vectors are learned for; `rows`, of each position the word and the distance for each of
        these; `left_out`, how many more there are; `spacing`, see `Vocabulary.spacing`.
    """
    method, backbone = model.method, dual_of(model.backbone)
    learned = method.word_vectors(domains) if isinstance(method, WordLearner) and backbone else {}
    if not learned or backbone is None:
        return None
    vocabulary = Vocabulary.of(backbone)
    words = {name: vocabulary.nearest(vectors) for name, vectors in islice(learned.items(), MOST)}
    return {
        "names": list(words),
        "rows": [list(row) for row in zip(*words.values(), strict=True)],
        "left_out": len(learned) - len(words),
        "spacing": vocabulary.spacing(),
    }


@torch.no_grad()
def nearest_domains(model: AdaptedModel, rows: Sequence[Row], domains: Sequence[str]) -> dict[str, Any] | None:
    """Return which training domain test images are taken for; none where the method makes nothing of domains.

    Args:
        model: what has learned.
        rows: of test images, whose files are there.
        domains: of the training images, sorted.

    Returns:
        `names` of the training domains; and `rows`, of each domain of the test images its `name`, the `count` of its
        images, and the `shares` of those nearest to each training domain.
    """
    method = model.method
    if not isinstance(method, DomainAttributor) or len(domains) < 2 or not rows:
        return None
    feed, _, _ = model.feed_for(method, as_data(rows, model.bands))
    found = [method.domain_distances(batch.to(model.backbone.device)) for batch in chunks(feed, BATCH)]
    distances = [one for one in found if one is not None]
    if not distances:
        return None
    nearest = torch.cat(distances).argmin(dim=1).tolist()
    by_domain: dict[str, list[int]] = {}
    for row, place in zip(rows, nearest, strict=True):
        by_domain.setdefault(row["domain"] or "", []).append(place)
    told = [
        {
            "name": name,
            "count": len(found),
            "shares": [found.count(place) / len(found) for place in range(len(domains))],
        }
        for name, found in sorted(by_domain.items())
    ]
    return {"names": list(domains), "rows": told}
