"""Domain encoders from images without labels: which images are learned from, the settings, and what is learned."""
