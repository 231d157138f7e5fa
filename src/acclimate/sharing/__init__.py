"""Runs on the Hugging Face Hub: what is sent of one, with a card made of its record, and how it comes back."""

from acclimate.sharing.contents import Contents, gather
from acclimate.sharing.pulling import pull
from acclimate.sharing.pushing import Pushed, push

__all__ = ["Contents", "Pushed", "gather", "pull", "push"]
