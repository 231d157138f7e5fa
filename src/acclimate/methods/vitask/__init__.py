"""VITask (Bai et al. 2024, arXiv 2410.06456), and vanilla instruction tuning, which is VITask with all of it off."""

from acclimate.methods.vitask.instruct import Instruct
from acclimate.methods.vitask.method import VITask

__all__ = ["Instruct", "VITask"]
