"""synthaug: class-conditional DDPMs for imbalanced image folders, judged by a fair comparison."""

__version__ = "0.1.0"
