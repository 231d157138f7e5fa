"""Checkpoints of OpenAI's CLIP and open_clip, written once as folders in Hugging Face format.

    weights.py        names and tensors of a file, through torch's restricted loader where it is a pickle
    mapping.py        their names there to those of transformers; `naming.yaml` is the table, and says what is refused
    configuration.py  open_clip_config.json: which form of model it describes, and whether all of it can be followed
    facts.py          what weights do not say: activation, heads, pixels; from configuration, catalogue or an option
    timm_bert.py      sizes and facts of a plain ViT of timm beside a BERT (BiomedCLIP)
    tokenizing.py     CLIP's own tokenizer, for files that bring none
    converting.py     all of it together, into a folder of the user's own or of the cache

Neither open_clip nor torchvision is needed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@cache
def naming() -> dict[str, Any]:
    """Content of naming.yaml."""
    return yaml.safe_load((HERE / "naming.yaml").read_text(encoding="utf-8"))
