"""Draw images of one class with nothing but diffusers and the checkpoint folder of a run.

    python examples/draw_with_diffusers.py runs/<run>/base/ckpt-<step> 3 out.png

The folder is an ordinary diffusers one, so this also shows what synthaug adds to it: a label for
the network, and 2 x 2 pixels folded into channels where denoiser.json says `patch: 2`.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DModel
from PIL import Image
from torch.nn.functional import pixel_shuffle


def main(checkpoint: Path, label: int, out: Path, n: int = 8, steps: int = 20) -> None:
    network = UNet2DModel.from_pretrained(
        checkpoint / "unet", use_safetensors=True, low_cpu_mem_usage=False
    ).eval()
    scheduler = DDIMScheduler.from_pretrained(
        checkpoint / "scheduler", clip_sample=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    size = network.config.sample_size
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, network.config.in_channels, size, size, generator=generator)
    labels = torch.full((n,), label)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            output = network(x, t, class_labels=labels).sample
            x = scheduler.step(output, t, x, use_clipped_model_output=True).prev_sample
    patch = json.loads((checkpoint / "denoiser.json").read_text())["patch"]
    images = ((pixel_shuffle(x, patch).clamp(-1, 1) + 1) * 127.5).round().byte()
    strip = torch.cat(list(images), dim=2).permute(1, 2, 0).squeeze(-1).numpy()
    Image.fromarray(strip).save(out)
    print(f"{n} images of class {label} in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
