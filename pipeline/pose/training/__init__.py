"""Training the hand-landmark network further on made pictures (``python -m pipeline train``)."""
