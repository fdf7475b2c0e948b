"""What goes to the Hub, what never does, and what is left when it cannot be reached."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import OfflineModeIsEnabled

import synthaug
from synthaug.errors import ResourceError, UsageError


class FakeHub:
    """An account with repositories in memory, in the place of `HfApi`."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[tuple[str, str], bool] = {}
        self.fault: Exception | None = None
        self.commits = 0

    def create_repo(self, name: str, *, repo_type: str, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        if self.fault:
            raise self.fault
        self.repositories.setdefault((repo_type, name), {".gitattributes": b""})
        self.private.setdefault((repo_type, name), private)
        return f"https://hub.example/{name}"

    def repo_info(self, name: str, *, repo_type: str) -> Any:
        return SimpleNamespace(private=self.private[repo_type, name])

    def list_repo_files(self, name: str, *, repo_type: str) -> list[str]:
        return list(self.repositories[repo_type, name])

    def create_commit(
        self, name: str, operations: list[Any], *, commit_message: str, repo_type: str
    ) -> None:
        files = self.repositories[repo_type, name]
        for operation in operations:
            if isinstance(operation, CommitOperationDelete):
                del files[operation.path_in_repo]
            else:
                assert isinstance(operation, CommitOperationAdd)
                with operation.as_file() as handle:
                    files[operation.path_in_repo] = handle.read()
        self.commits += 1


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    return fake


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_private_and_synthetic_only_by_default(hub: FakeHub, smoke: Any, cli: Any, hash_of: Any):
    before = hash_of(smoke.path)
    told = cli(
        "push", "--run", smoke.path, "--model", "me/ddpm", "--data", "me/rare", "--json"
    ).ok()  # fmt: skip
    assert told.json["private"] is True and told.json["model"].endswith("me/ddpm")
    assert set(hub.private.values()) == {True} and hub.commits == 2
    assert hash_of(smoke.path) == before

    data = hub.repositories["dataset", "me/rare"]
    made = smoke.read("generate.json")["counts"]
    images = [name for name in data if name.endswith(".png")]
    assert len(images) == sum(made.values())
    assert not any("real" in name for name in data)
    real = {p.read_bytes() for p in (smoke.path / "balanced").rglob("real-*.png")}
    assert real and not real & set(data.values())
    lines = [json.loads(line) for line in data["synthaug_manifest.jsonl"].decode().splitlines()]
    assert {line["file"] for line in lines} == set(images)
    # Names of the user's files may be names of people.
    assert all(line["source"] == "synthetic" for line in lines)
    assert not any({"sources", "original"} & set(line) for line in lines)
    told_of = {value for line in lines for value in line.values() if isinstance(value, str)}
    assert not told_of & set(smoke.read("dataset.json")["paths"])


def test_the_model_draws_from_what_was_pushed(hub: FakeHub, smoke: Any, tmp_path: Path):
    from diffusers import DDIMScheduler, UNet2DModel

    pushed = synthaug.push(smoke.path, model="me/ddpm")
    assert pushed.data is None and pushed.model == "https://hub.example/me/ddpm"
    files = hub.repositories["model", "me/ddpm"]
    allowed = {"README.md", "denoiser.json", "model_index.json", ".gitattributes"}
    assert all(name in allowed or name.split("/")[0] in ("unet", "scheduler") for name in files)
    folder = write_tree(tmp_path / "pulled", files)
    network = UNet2DModel.from_pretrained(folder, subfolder="unet")
    assert network.config.sample_size == 8
    assert DDIMScheduler.from_pretrained(folder, subfolder="scheduler").config.num_train_timesteps


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_row_100_what_was_pushed_is_read_back(hub: FakeHub, smoke: Any, tmp_path: Path):
    import datasets

    datasets.disable_progress_bars()
    synthaug.push(smoke.path, data="me/all", include_real=True)
    files = hub.repositories["dataset", "me/all"]
    header = yaml.safe_load(files["README.md"].decode()[4:].split("\n---\n")[0])
    assert header["license"] == "other" and header["configs"]
    folder = write_tree(tmp_path / "pulled", files)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train"} and len(loaded["train"]) == 400
    assert loaded["train"].features["label"].names == [str(k) for k in range(10)]


def test_images_of_an_earlier_push_do_not_stay(hub: FakeHub, smoke: Any):
    files = hub.repositories["dataset", "me/rare"] = {
        "train/9/999999.png": b"old", "notes.txt": b"theirs",
    }  # fmt: skip
    hub.private["dataset", "me/rare"] = True
    synthaug.push(smoke.path, data="me/rare")
    assert "train/9/999999.png" not in files and files["notes.txt"] == b"theirs"
    assert "train/9/000000.png" in files


def test_a_public_repository_is_not_filled_by_accident(hub: FakeHub, smoke: Any):
    hub.repositories["dataset", "me/open"], hub.private["dataset", "me/open"] = {}, False
    with pytest.raises(UsageError, match="exists on the Hub and is public"):
        synthaug.push(smoke.path, data="me/open")
    assert hub.commits == 0
    synthaug.push(smoke.path, data="me/open", public=True)
    assert hub.commits == 1


@pytest.mark.parametrize(
    "fault",
    [
        OfflineModeIsEnabled("offline mode is enabled"),
        ConnectionError("Temporary failure in name resolution\nsecond line"),
        ValueError("403 Forbidden: you lack write rights"),
        TimeoutError(),
    ],
)
def test_row_105_the_hub_is_down(
    hub: FakeHub, smoke: Any, cli: Any, hash_of: Any, fault: Exception
):
    before = hash_of(smoke.path)
    hub.fault = fault
    failed = cli("push", "--run", smoke.path, "--model", "me/ddpm")
    assert failed.code == ResourceError.exit_code == 4
    assert (
        "was not pushed" in failed.fault and f"everything is kept in {smoke.path}" in failed.fault
    )
    assert f"synthaug push --run {smoke.path} --model me/ddpm" in failed.fault
    assert hash_of(smoke.path) == before
    hub.fault = None
    cli("push", "--run", smoke.path, "--model", "me/ddpm").ok()  # as it was told
    assert hub.commits == 1


def test_row_105_generate_is_done_though_the_hub_is_down(hub: FakeHub, copied_run: Path, cli: Any):
    hub.fault = ConnectionError("no route to host")
    failed = cli("generate", "--balance", "42", "--run", copied_run, "--push-to-hub", "me/rare")
    assert failed.code == 4 and "no route to host" in failed.fault
    assert f"synthaug push --run {copied_run} --data me/rare" in failed.fault
    assert json.loads((copied_run / "generate.json").read_text())["counts"]["9"] == 38
    hub.fault = None
    again = cli("generate", "--run", copied_run, "--push-to-hub", "me/rare", "--json").ok()
    assert again.json["pushed"]["private"] is True
    assert "train/9/000037.png" in hub.repositories["dataset", "me/rare"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "nothing to push"),
        (["--model", "ddpm"], "OWNER/NAME"),
        (["--model", "me/../x/y"], "OWNER/NAME"),
        (["--model", "me/x", "--include-real"], "without --data"),
    ],
)
def test_what_cannot_be_asked(hub: FakeHub, smoke: Any, cli: Any, options: list[str], told: str):
    failed = cli("push", "--run", smoke.path, *options)
    assert failed.code == 2 and told in failed.fault
    assert not hub.repositories


def test_a_wrong_name_is_told_before_the_work(cli: Any, digits: Path, tmp_path: Path):
    run = tmp_path / "run"
    failed = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--run", run, "--push-to-hub", "x"
    )
    assert failed.code == 2 and "OWNER/NAME" in failed.fault and not run.exists()


def test_folds_and_a_push_are_refused_before_the_work(cli: Any, digits: Path, tmp_path: Path):
    run = tmp_path / "run"
    wish = "--folds", "2", "--push-to-hub", "me/rare"
    failed = cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", run, *wish)
    assert failed.code == 2 and "--run RUN/folds/0" in failed.fault and not run.exists()
    with pytest.raises(UsageError, match="with folds"):
        synthaug.fit(digits, recipe="smoke", run=run, folds=2, push_to_hub="me/rare")
    run.mkdir()
    recipe = {"name": "x", "data": {"folds": 2}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    failed = cli("generate", "--run", run, "--push-to-hub", "me/rare")
    assert failed.code == 2 and "with folds" in failed.fault
    with pytest.raises(UsageError, match="with folds"):
        synthaug.generate(run, push_to_hub="me/rare")
