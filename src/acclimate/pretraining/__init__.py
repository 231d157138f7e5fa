"""Domain encoders from unlabelled images."""

from acclimate.pretraining.mae import pretrain_mae

__all__ = ["pretrain_mae"]
