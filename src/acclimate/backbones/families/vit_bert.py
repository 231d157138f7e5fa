"""A ViT and a BERT as open_clip joins them: a model of our own, in the form of transformers.

Transformers' VisionTextDualEncoderModel cannot hold such weights (BiomedCLIP): its towers end in poolers, which these
do not have, and it projects texts by one matrix, where these may have two.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AutoModel, PreTrainedModel, VisionTextDualEncoderConfig


class VitBertConfig(VisionTextDualEncoderConfig):
    """Configurations of both towers, and

    context_length       text positions that were trained, of those that the BERT has
    projection_dim       width of the joint space
    text_projection_dim  inner width of the network that projects texts, GELU between its two matrices; none: one matrix
    """

    model_type = "vit-bert-clip"


class VitBertModel(PreTrainedModel):
    """The weights; `acclimate` runs the towers.

    Args:
        config: of both towers.
    """

    config_class = VitBertConfig
    base_model_prefix = "vit_bert"

    def __init__(self, config: VitBertConfig) -> None:
        super().__init__(config)
        self.vision_model = AutoModel.from_config(config.vision_config, add_pooling_layer=False)
        self.text_model = AutoModel.from_config(config.text_config, add_pooling_layer=False)
        towers: tuple[Any, Any] = (config.text_config, config.vision_config)
        text, vision, joint = *(tower.hidden_size for tower in towers), config.projection_dim
        inner = getattr(config, "text_projection_dim", None)
        self.visual_projection = nn.Linear(vision, joint, bias=False)
        self.text_projection = (
            nn.Linear(text, joint, bias=False)
            if inner is None
            else nn.Sequential(nn.Linear(text, inner, bias=False), nn.GELU(), nn.Linear(inner, joint, bias=False))
        )
        self.logit_scale = nn.Parameter(self.visual_projection.weight.new_tensor(config.logit_scale_init_value))
        self.post_init()
