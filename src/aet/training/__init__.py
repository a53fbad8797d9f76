"""Training: `train` is the door, `loop.fit` the loop."""
