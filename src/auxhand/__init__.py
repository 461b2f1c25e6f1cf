"""AuxHand: 3D hand pose from a single RGB image, learnt with auxiliary information.

Chapters, equations and algorithms that docstrings name are of L. Yang, "3D Hand Pose Estimation
from Single RGB Images with Auxiliary Information", dissertation, University of Bonn, 2022.
"""
