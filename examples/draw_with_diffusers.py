"""Draw images of one class with nothing but diffusers and the checkpoint folder of a run.

    python examples/draw_with_diffusers.py runs/<run>/base/ckpt-<step> 3 out.png

The folder is an ordinary diffusers one, so this also shows what synthaug adds to it: a label for
the network, and what denoiser.json says: 2 x 2 pixels folded into channels (`patch: 2`), planes of
zeros for "not augmented" (`vector_size`), and output channels for a learned variance.
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
    described = json.loads((checkpoint / "denoiser.json").read_text())
    patch, size = described["patch"], network.config.sample_size
    channels = described["channels"] * patch**2
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, channels, size, size, generator=generator)
    planes = torch.zeros(n, described["vector_size"], size, size)
    labels = torch.full((n,), label)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            output = network(torch.cat([x, planes], dim=1), t, class_labels=labels).sample
            output = output[:, :channels]
            x = scheduler.step(output, t, x, use_clipped_model_output=True).prev_sample
    images = ((pixel_shuffle(x, patch).clamp(-1, 1) + 1) * 127.5).round().byte()
    strip = torch.cat(list(images), dim=2).permute(1, 2, 0).squeeze(-1).numpy()
    Image.fromarray(strip).save(out)
    print(f"{n} images of class {label} in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
