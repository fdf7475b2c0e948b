"""Denoising diffusion probabilistic models (Ho et al. 2020), class-conditional."""
