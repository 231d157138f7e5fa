"""Zero-shot classification by a generative VLM: it is asked, and the label set is scored."""

from __future__ import annotations

from acclimate.methods.parts.generative import AnswerConfig, GenerativeClassifier
from acclimate.methods.registry import register


@register
class VLMZeroShot(GenerativeClassifier):
    """Zero-shot classification by a generative VLM: p(c|x) = softmax_c(log p(label_c | image, instruction)).

    What a tuned VLM has to beat. Scoring every label exactly always answers with a class and gives probabilities.
    Source: Bai et al. 2024 (arXiv 2410.06456), section 3, for the instruction.
    """

    name = "vlm-zero-shot"
    title = "Zero-shot by asking a generative VLM"
    paper = "arXiv 2410.06456"
    learns = "nothing"
    baseline = 1
    Config = AnswerConfig
    config: AnswerConfig
