"""A denoiser in words that JSON has, and back: all but the network's weights and its own config."""

from typing import Any

import torch
from diffusers import UNet2DModel

from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import SCHEDULES, NoiseSchedule, make_schedule


def describe_denoiser(denoiser: Denoiser) -> dict[str, Any]:
    """What `rebuild_denoiser` needs beside the network."""
    return {
        "prediction": denoiser.prediction,
        "variance": denoiser.variance,
        "schedule": denoiser.schedule.name,
        "T": denoiser.schedule.T,
        **own_betas(denoiser.schedule),
        "n_classes": denoiser.n_classes,
        "image_size": denoiser.image_size,
        "channels": denoiser.channels,
        "patch": denoiser.patch,
        "vector_size": denoiser.vector_size,
    }


def rebuild_denoiser(
    network: UNet2DModel, described: dict[str, Any], device: torch.device
) -> Denoiser:
    """The denoiser that was described, around its network, which is moved to `device`."""
    return Denoiser(
        network=network.to(device=device, memory_format=torch.channels_last),
        schedule=_schedule(described),
        prediction=described["prediction"],
        n_classes=described["n_classes"],
        image_size=described["image_size"],
        channels=described["channels"],
        patch=described["patch"],
        vector_size=described.get("vector_size", 0),
        variance=described.get("variance", "beta_tilde"),  # version 0.1.0 had no other
    )


def own_betas(schedule: NoiseSchedule) -> dict[str, list[float]]:
    """The betas themselves, unless name and T alone give them."""
    known = SCHEDULES.get(schedule.name)
    if known is not None and torch.equal(known(schedule.T).betas, schedule.betas):
        return {}
    return {"betas": schedule.betas.tolist()}


def _schedule(described: dict[str, Any]) -> NoiseSchedule:
    if "betas" in described:  # JSON keeps a float64 to its last bit
        betas = torch.tensor(described["betas"], dtype=torch.float64)
        return NoiseSchedule(described["schedule"], betas)
    return make_schedule(described["schedule"], described["T"])
