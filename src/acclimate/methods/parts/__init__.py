"""Parts that several methods share: contexts, deep prompts, class rows, quaternions, scores."""
