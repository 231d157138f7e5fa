"""Training: feeds, the frozen encoders with their cache, the one fit loop, checkpoints, devices and seeds."""
