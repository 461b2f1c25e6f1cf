"""AuxHand: 3D hand pose from a single RGB image, learnt with auxiliary information."""
