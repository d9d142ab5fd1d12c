"""Finding and following the hand in each camera: 21 points with their uncertainty, frame by frame."""
