"""What is measured of the fused hand: movement, angles, deviation from a reference, change between visits."""
