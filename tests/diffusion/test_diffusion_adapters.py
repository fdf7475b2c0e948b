"""Low-rank adapters: nothing at first, low rank afterwards, plain weights in the end."""

import torch

from synthaug.diffusion.adapters import add_adapters, merge_adapters
from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.checkpoint import load_checkpoint, save_checkpoint

OPTIONS = TrainingOptions(batch_size=16, learning_rate=1e-2, warmup_steps=2, ema_decay=0.5)
INPUT = torch.zeros(1, 1, 8, 8), torch.tensor([300]), torch.tensor([0])


def test_new_adapters_change_nothing_and_merge_to_the_same_names(tiny, weights_of, same_weights):
    denoiser = tiny()
    before, out = weights_of(denoiser), denoiser.predict(*INPUT)
    trained = add_adapters(denoiser.network, 2, seed=0)
    assert trained < denoiser.n_parameters / 3
    torch.testing.assert_close(denoiser.predict(*INPUT), out, atol=1e-3, rtol=0)
    merge_adapters(denoiser.network)
    assert same_weights(before, weights_of(denoiser))
    assert all(p.requires_grad for p in denoiser.network.parameters())


def test_a_low_rank_specialist_differs_from_its_base_by_low_rank(
    tiny, dark_and_bright, specialised, weights_of, same_weights
):
    images, labels = dark_and_bright
    base, bright = tiny(), labels == 1
    before = weights_of(base)
    specialist = specialised(
        base, images[bright], labels[bright], steps=6, seed=0, options=OPTIONS, rank=2
    )
    assert same_weights(before, weights_of(base))
    after, changed = weights_of(specialist), 0
    assert after.keys() == before.keys()
    for name, weight in after.items():
        difference = weight - before[name]
        if weight.ndim in (2, 4) and "embedding" not in name.split(".")[0]:
            rank = int(torch.linalg.matrix_rank(difference.flatten(1).double(), rtol=1e-4))
            assert rank <= 2, name
            changed += rank > 0
        elif "class_embedding" in name or weight.ndim == 1:
            assert not bool(difference.any()), name
    assert changed > 10


def test_a_low_rank_specialist_is_a_plain_checkpoint(tiny, dark_and_bright, specialised, tmp_path):
    images, labels = dark_and_bright
    specialist = specialised(tiny(), images, labels, steps=2, seed=0, options=OPTIONS, rank=4)
    save_checkpoint(tmp_path / "ckpt", specialist, {})
    back = load_checkpoint(tmp_path / "ckpt", torch.device("cpu")).denoiser
    specialist.network.eval()
    torch.testing.assert_close(back.predict(*INPUT), specialist.predict(*INPUT), atol=1e-3, rtol=0)
