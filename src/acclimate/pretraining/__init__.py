"""Domain encoders from unlabelled images."""
