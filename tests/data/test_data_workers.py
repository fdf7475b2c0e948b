"""Decoding in several processes: the same result in the same order, and an end when asked to."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from handmade_images import encoded
from PIL import Image

from synthaug.data import decode, workers
from synthaug.data.decode import decode_images
from synthaug.data.folder import index_folder
from synthaug.data.index import ImageIndex
from synthaug.data.pixels import ReadOptions
from synthaug.data.source import Arrays, Blobs
from synthaug.data.workers import map_in_order, n_workers
from synthaug.errors import InterruptedRun, ResourceError

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")


def assert_same(first, second):
    assert (first.pixels == second.pixels).all() and (first.kept == second.kept).all()
    for name in ("content_hashes", "bad", "notices", "odd", "lowest_level", "highest_level"):
        assert getattr(first, name) == getattr(second, name)


@pytest.fixture
def many(write_tree):
    """150 images in three chunks, some deep, some bad, some odd."""
    root = write_tree(*(f"{'ab'[i % 2]}/{i:03d}.png" for i in range(150)))
    (root / "a/020.png").write_bytes(b"broken")
    (root / "b/149.png").write_bytes(b"")
    Image.fromarray(np.full((6, 40), 700, np.uint16)).save(root / "b/075.png")
    Image.new("RGBA", (9, 9), (1, 2, 3, 50)).save(root / "a/100.png")
    return index_folder(root)


def test_many_images_stay_in_order_and_progress_adds_up(many):
    steps = []
    result = decode_images(many, size=8, channels=1, advance=steps.append)
    assert steps == [64, 64, 22]
    bad = {many.paths.index(image.path) for image in result.bad}
    assert sorted({*result.kept.tolist(), *bad}) == list(range(150)) and len(bad) == 2
    for row in (0, 70, 147):
        with Image.open(many.source.path(result.kept[row])) as image:
            assert (result.pixels[row, 0] == np.asarray(image)).all()


def test_the_number_of_workers_changes_nothing(many):
    options = ReadOptions(value_range=(0, 1000))
    alone = decode_images(many, size=8, channels=3, options=options, workers=1)
    assert len(alone.bad) == 2 and len(alone.odd) == 3 and alone.highest_level == 700
    steps = []
    shared = decode_images(
        many, size=8, channels=3, options=options, workers=2, advance=steps.append
    )
    assert_same(alone, shared)
    assert steps == [64, 64, 22]


def test_only_the_images_of_a_chunk_are_handed_over(monkeypatch):
    files = tuple(encoded(Image.new("L", (8, 8), i), "PNG") for i in range(130))
    index = ImageIndex(
        origin="images.zip",
        paths=tuple(f"{i:03d}.png" for i in range(130)),
        labels=np.zeros(130, np.int64),
        class_names=("a",),
        declared_split=("",) * 130,
        ignored={},
        source=Blobs(files),
        sizes=tuple(map(len, files)),
    )
    handed = []

    def watch(work, tasks, n):
        assert n == 3
        for task in tasks:
            handed.append(task.source.contents)
            yield work(task)

    monkeypatch.setattr(decode, "map_in_order", watch)
    result = decode_images(index, size=8, channels=1, workers=3)
    assert result.pixels[:, 0, 0, 0].tolist() == list(range(130))
    assert [len(contents) for contents in handed] == [64, 64, 2]
    assert sum(handed, ()) == files


def test_large_files_make_small_chunks(write_tree):
    index = index_folder(write_tree(*(f"a/{i}.png" for i in range(6))))
    large = ImageIndex(**{**vars(index), "sizes": (3 << 20,) * 6})
    steps = []
    decode_images(large, size=8, channels=1, advance=steps.append)
    assert steps == [2, 2, 2]


@needs_proc
def test_arrays_never_leave_the_process():
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), dtype=np.uint8)
    index = ImageIndex(
        origin="images.npz",
        paths=tuple(f"{i:03d}" for i in range(70)),
        labels=np.zeros(70, np.int64),
        class_names=("a",),
        declared_split=("",) * 70,
        ignored={},
        source=Arrays((images,), np.arange(70)),
    )
    result = decode_images(index, size=8, channels=3, workers=2)
    assert (result.pixels == images.transpose(0, 3, 1, 2)).all()
    assert loky_children() == []


def loky_children():
    """Processes of loky that are alive below this one."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as status, open(f"/proc/{entry}/cmdline") as command:
                state, parent = status.read().rsplit(")", 1)[1].split()[:2]
                if int(parent) == os.getpid() and "popen_loky" in command.read() and state != "Z":
                    found.append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def slowly(seconds):
    time.sleep(seconds)
    return seconds


def die(code):
    os._exit(code)


@needs_proc
def test_work_that_nobody_waits_for_ends_at_once():
    results = map_in_order(slowly, [0, 0, 600, 600, 600, 600], 2)
    assert [next(results), next(results)] == [0, 0]
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 30 and loky_children() == []


@needs_proc
def test_a_stop_by_the_caller_ends_the_processes(many):
    def stop(done):
        assert loky_children() != []
        raise InterruptedRun("stopped")

    with pytest.raises(InterruptedRun) as caught:
        decode_images(many, size=8, channels=1, workers=2, advance=stop)
    # While the traceback is still held.
    assert caught.tb is not None and loky_children() == []


def test_row_65_a_worker_that_dies_is_a_fault_the_user_can_mend():
    with pytest.raises(ResourceError, match="a process that decoded images was killed"):
        list(map_in_order(die, [3, 3], 2))


@needs_proc
def test_no_process_outlives_a_parent_that_was_killed():
    program = textwrap.dedent("""
        import os, time
        from synthaug.data.workers import map_in_order

        for pid in map_in_order(tell_and_wait, [0, 0, 600, 600], 2):
            print(pid, flush=True)
    """)
    # Workers import the function by its name, so it has to be in a module.
    helper = "import os, time\ndef tell_and_wait(s):\n    time.sleep(s)\n    return os.getpid()\n"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "helper.py").write_text(helper)
        process = subprocess.Popen(
            [sys.executable, "-c", "from helper import tell_and_wait\n" + program],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])},
        )  # fmt: skip
        pids = {int(process.stdout.readline()) for _ in range(2)}
        process.kill()
        process.communicate()
        until = time.monotonic() + 20
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < until, "a worker lives on"
            time.sleep(0.1)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_processes_are_started_only_for_what_takes_long(monkeypatch):
    monkeypatch.setattr("loky.cpu_count", lambda: 64)
    assert n_workers(0.1) == 1 and n_workers(60) == workers._MOST


@needs_proc
@pytest.mark.parametrize("n", [1, 2])
def test_ctrl_c_stops_reading_at_once(many, n):
    program = textwrap.dedent("""
        import signal, sys, time
        from pathlib import Path
        from synthaug.data.decode import decode_images
        from synthaug.data.folder import index_folder

        # A shell starts its background jobs, and thereby this, with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def advance(done):
            print("under way", flush=True)
            time.sleep(600)

        index = index_folder(Path(sys.argv[1]))
        decode_images(index, size=8, channels=1, workers=int(sys.argv[2]), advance=advance)
    """)
    command = [sys.executable, "-c", program, many.origin, str(n)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "under way\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
        errors = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
