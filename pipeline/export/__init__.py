"""What leaves a run folder: one file a format."""
