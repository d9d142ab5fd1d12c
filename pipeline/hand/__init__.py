"""The hand: its model, joints, rotations and angles."""
