"""Domain encoders from images, without labels or with: what is learned from, the settings, and what is learned."""
