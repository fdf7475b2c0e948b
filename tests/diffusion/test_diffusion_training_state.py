"""A training on disk: put back to the last bit, never spoilt, and whole whenever the power goes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.checkpoint import load_checkpoint, save_checkpoint
from synthaug.diffusion.durable import numbered, rotate, verify
from synthaug.diffusion.specialise import begin_specialist
from synthaug.diffusion.stopping import HeldOutWatch
from synthaug.diffusion.training import Horizon, make_ema, start_loop, train_denoiser
from synthaug.diffusion.training_state import (
    TENSORS,
    capture,
    load_training,
    restore,
    save_training,
)
from synthaug.errors import DataError, DivergedError

OPTIONS = TrainingOptions(batch_size=4, learning_rate=3e-3, warmup_steps=3, ema_decay=0.9)


class Training:
    """A denoiser, its average, its loop and its watch, as a stage holds them together."""

    def __init__(self, denoiser, data, *, watched=False):
        self.denoiser, self.data = denoiser, data
        self.ema, self.loop = make_ema(denoiser, OPTIONS.ema_decay), start_loop(denoiser, OPTIONS)
        few = data[0][::32], data[1][::32]
        self.watch = HeldOutWatch(*few, every=2, patience=99) if watched else None

    def train(self, until, total=12):
        """Losses of the steps up to `until` of `total`."""
        losses, horizon = [], Horizon(total)
        for stats in train_denoiser(
            self.denoiser, self.ema, *self.data, steps=horizon, seed=3, options=OPTIONS,
            loop=self.loop,
        ):  # fmt: skip
            losses.append(stats.loss)
            if self.watch is not None and self.watch.due(self.loop.step):
                self.watch.check(self.denoiser, self.ema, self.loop.step)
            if self.loop.step == until:
                break
        return losses

    def state(self, **extra):
        return capture(self.denoiser, self.ema, self.loop, self.watch, extra)

    def go_on_from(self, state):
        restore(state, self.denoiser, self.ema, self.loop, self.watch)


def same(a, b):
    assert a.tensors.keys() == b.tensors.keys()
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert a.numbers == b.numbers


@pytest.mark.parametrize("stop", [0, 1, 7])
@pytest.mark.parametrize("kind", ["plain", "dropout", "watched", "adapters"])
def test_row_67_a_restored_training_takes_the_same_steps(
    tmp_path, tiny, dark_and_bright, kind, stop
):
    """Through the disk; losses, weights, averages, moments and held-out losses are all equal."""

    def fresh():
        denoiser = tiny(dropout=0.2 if kind == "dropout" else 0.0)
        if kind == "adapters":
            denoiser = begin_specialist(denoiser, rank=2, seed=1)
        return Training(denoiser, dark_and_bright, watched=kind == "watched")

    whole, first, second = fresh(), fresh(), fresh()
    losses = whole.train(12)
    before = first.train(stop) if stop else []
    save_training(tmp_path / "ckpt-1", first.state(note="é"))
    first.train(12)  # what is saved is a copy
    loaded = load_training(tmp_path / "ckpt-1")
    assert (loaded.step, loaded.extra) == (stop, {"note": "é"})
    second.go_on_from(loaded)
    assert before + second.train(12) == losses
    same(second.state(), whole.state())
    if kind == "watched":
        assert len(second.watch.losses) == 6
        assert second.watch.losses == whole.watch.losses
        second.watch.restore_best(second.denoiser)
        whole.watch.restore_best(whole.denoiser)
        pairs = zip(
            second.denoiser.network.parameters(), whole.denoiser.network.parameters(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)


def test_row_55_a_step_that_is_not_finite_changes_nothing(tiny, dark_and_bright, monkeypatch):
    """Weights, averages and moments to the last bit; the step counts and the next one learns."""
    training = Training(tiny(), dark_and_bright)
    training.train(3)
    before = training.state()
    forward = training.denoiser.network.forward

    def spoilt(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.sample = out.sample * math.inf
        return out

    with monkeypatch.context() as patch:
        patch.setattr(training.denoiser.network, "forward", spoilt)
        assert not math.isfinite(training.train(4)[0])
    after = training.state()
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)
    assert after.numbers == {**before.numbers, "step": 4, "skipped": 1, "bad_in_a_row": 1}
    training.train(5)
    assert training.loop.bad_in_a_row == 0
    assert not torch.equal(
        before.tensors["network.conv_in.weight"], training.state().tensors["network.conv_in.weight"]
    )


def test_row_55_so_does_one_whose_gradient_is_not_finite(tiny, dark_and_bright):
    """The loss is fine, but one weight's gradient overflows."""
    training = Training(tiny(), dark_and_bright)
    training.train(3)
    before = training.state()
    weight = next(training.denoiser.network.parameters())
    handle = weight.register_hook(lambda gradient: gradient * math.inf)
    assert math.isfinite(training.train(4)[0])
    handle.remove()
    after = training.state()
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)
    assert (after.numbers["skipped"], after.numbers["bad_in_a_row"]) == (1, 1)


@pytest.mark.parametrize("part", ["network", "ema", "optimiser"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_row_57_a_state_that_is_not_finite_is_not_saved(tiny, dark_and_bright, part, value):
    training = Training(tiny(), dark_and_bright)
    training.train(2)
    parameter = next(training.denoiser.network.parameters())
    spoilt = {
        "network": parameter,
        "ema": training.ema.shadow_params[0],
        "optimiser": training.loop.optimiser.state[parameter]["exp_avg"],
    }[part]
    with torch.no_grad():
        spoilt.view(-1)[0] = value
    with pytest.raises(DivergedError, match=rf"the first is {part}\."):
        training.state()


def test_a_state_of_another_network_is_refused(tiny, dark_and_bright):
    training = Training(tiny(), dark_and_bright)
    training.train(1)
    for other in (tiny(n_classes=3), tiny(patch=2), begin_specialist(tiny(), rank=2, seed=0)):
        with pytest.raises(DataError, match="another network"):
            Training(other, dark_and_bright).go_on_from(training.state())


def test_a_checkpoint_of_a_training_is_usable_and_says_who_wrote_it(
    tmp_path, tiny, dark_and_bright
):
    training = Training(tiny(), dark_and_bright)
    training.train(2)
    folder = tmp_path / "ckpt-00000002"
    save_checkpoint(folder, training.denoiser, {}, training=training.state(), config="c0ffee")
    load_checkpoint(folder, torch.device("cpu"))
    same(load_training(folder), training.state())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"] == "c0ffee"
    assert manifest["versions"]["torch"] == str(torch.__version__)
    assert manifest["versions"].keys() == {"synthaug", "torch", "diffusers"}


def test_a_network_read_from_disk_does_not_tell_where_from(tmp_path, tiny):
    save_checkpoint(tmp_path / "first", tiny(), {})
    again = load_checkpoint(tmp_path / "first", torch.device("cpu")).denoiser
    save_checkpoint(tmp_path / "second", again, {})
    configs = [(tmp_path / name / "unet" / "config.json") for name in ("first", "second")]
    assert str(tmp_path) not in configs[1].read_text()
    assert configs[0].read_bytes() == configs[1].read_bytes()


def test_a_state_alone_is_no_denoiser_and_a_denoiser_no_state(tmp_path, tiny, dark_and_bright):
    training = Training(tiny(), dark_and_bright)
    save_training(tmp_path / "state", training.state())
    save_checkpoint(tmp_path / "denoiser", training.denoiser, {})
    with pytest.raises(DataError, match="does not list"):
        load_checkpoint(tmp_path / "state", torch.device("cpu"))
    with pytest.raises(DataError, match="does not list"):
        load_training(tmp_path / "denoiser")


# What a kill leaves -----------------------------------------------------------------------------

KILLS = '''
"""Save a third checkpoint over two and die at the n-th operation on a file, for every n.

Prints for each n the operation, the checkpoints that verify and whether the older ones are there.
"""
import json, os, sys
from pathlib import Path

import numpy as np
import torch

from synthaug.diffusion import durable
from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.training import make_ema, start_loop
from synthaug.diffusion.training_state import capture, load_training
from synthaug.diffusion.unet import NetworkSpec, build_denoiser
from synthaug.errors import DataError
from synthaug.stages.record import Keeper
from synthaug.stages.run_dir import RunDir

torch.set_num_threads(1)
denoiser = build_denoiser(
    NetworkSpec((16, 32), 1, 1, (False, False)), image_size=8, channels=1, n_classes=2,
    schedule=cosine_schedule(), prediction="v", seed=0, device=torch.device("cpu"),
)
ema, loop = make_ema(denoiser, 0.9), start_loop(denoiser, TrainingOptions())


def save(keeper, step):
    loop.step = step
    state = capture(denoiser, ema, loop, None, {})
    keeper.denoiser("base", denoiser, step, training=state, complete=False)


def die_at(n, root):
    """Count what changes the disk below `root`; the process ends before the n-th of them."""
    count = [0]
    real = os.fsync

    def tick(what):
        count[0] += 1
        if count[0] == n:
            os.write(1, (json.dumps([n, what])[:-1]).encode())
            os._exit(9)

    def on_event(event, arguments):
        if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
            tick(event)
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            if str(arguments[0]).startswith(str(root)):
                tick("open")

    def fsync(descriptor):
        tick("fsync")
        real(descriptor)

    os.fsync = fsync
    sys.addaudithook(on_event)


top = Path(sys.argv[1])
n = 0
while True:
    n += 1
    keeper = Keeper(RunDir(top / str(n)), "f")
    for step in (10, 20):
        save(keeper, step)
    child = os.fork()
    if child == 0:
        die_at(n, top)
        save(keeper, 30)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    valid = []
    for folder in durable.numbered(top / str(n) / "base"):
        try:
            valid.append(load_training(folder).step)
        except DataError:
            pass
    if status == 0:
        print(json.dumps([n, "finished", valid]))
        break
    print("," + json.dumps([valid])[1:])
'''


def test_row_76_killed_at_any_operation_of_a_save_the_checkpoint_before_loads(tmp_path: Path):
    """And row 92: the oldest goes only once the newest is there."""
    script = tmp_path / "kills.py"
    script.write_text(KILLS)
    (tmp_path / "runs").mkdir()
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs")],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    kills = [json.loads(line) for line in ended.stdout.splitlines()]
    whats = [what for _, what, _ in kills]
    assert {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "open", "fsync"} < set(whats)
    assert len(kills) > 25 and whats[-1] == "finished" and kills[-1][2] == [30, 20]
    renamed = whats.index("os.rename")
    for n, what, valid in kills[:-1]:
        if n - 1 <= renamed:
            assert valid == [20, 10], (n, what)
        else:
            assert valid in ([30, 20, 10], [30, 20]), (n, what)


@pytest.mark.parametrize("operation", ["os.replace", "os.fsync", "Path.write_text", "save_file"])
def test_row_85_a_full_disk_leaves_the_old_checkpoint_and_no_half_of_a_new_one(
    tmp_path, tiny, dark_and_bright, monkeypatch, operation
):
    import errno
    import os

    from synthaug.diffusion import training_state

    training = Training(tiny(), dark_and_bright)
    save_training(tmp_path / "ckpt-1", training.state())

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    place = {"os": os, "Path": Path, "save_file": training_state}[operation.partition(".")[0]]
    with monkeypatch.context() as patch:
        patch.setattr(place, operation.rpartition(".")[2], full)
        with pytest.raises(OSError, match="No space"):
            save_training(tmp_path / "ckpt-2", training.state())
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt-1"]
    assert TENSORS in verify(tmp_path / "ckpt-1")["files"]


def test_row_92_only_the_oldest_go(tmp_path: Path):
    for name in ("ckpt-9", "ckpt-00000010", "ckpt-100", "ckpt-5.tmp-1", "ckpt-x", "other"):
        (tmp_path / name).mkdir()
    assert [p.name for p in numbered(tmp_path)] == ["ckpt-100", "ckpt-00000010", "ckpt-9"]
    rotate(tmp_path, 2)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"ckpt-00000010", "ckpt-100", "ckpt-5.tmp-1", "ckpt-x", "other"}
