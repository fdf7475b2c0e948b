"""A classifier of the user's own: a function of theirs, or a model of timm by name."""

import difflib
import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from synthaug.errors import UsageError

TIMM = "timm"


def build_own(name: str, channels: int, n_classes: int, image_size: int) -> nn.Module:
    """The network that `package:function` or `timm:MODEL` makes, checked on two images.

    The function is called as function(channels, n_classes, image_size) and returns a
    `torch.nn.Module` that takes images float32 [B, C, H, W] in [-1, 1] to logits [B, K].

    Raises `UsageError` for what cannot be imported or called, or gives no logits.
    """
    package, colon, attribute = name.partition(":")
    if not (colon and package and attribute):
        raise UsageError(
            f"unknown classifier {name!r}",
            expected="small-resnet, package:function or timm:MODEL",
        )
    with _current_folder_importable():
        if package == TIMM:
            network = _from_timm(attribute, channels, n_classes)
        else:
            network = _call(name, _function(name), channels, n_classes, image_size)
        _check(name, network, channels, n_classes, image_size)
    return network


def source_digest(name: str) -> str:
    """What a classifier's code is, so that results of other code are not taken for its own.

    SHA-256 of the file that `package:function` comes from, the version of timm, or "" for the
    built-in classifier. Raises `UsageError` as `build_own` does.
    """
    package, colon, _ = name.partition(":")
    if not colon:
        return ""
    with _current_folder_importable():
        if package == TIMM:
            return f"timm {_timm().__version__}"
        try:
            source = inspect.getsourcefile(inspect.unwrap(_function(name)))
        except TypeError:  # a callable object, or one written in C
            source = getattr(sys.modules[package], "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else name


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """The command `synthaug` does not see the current folder by itself; installed names win."""
    here = os.getcwd()
    if "" in sys.path or here in sys.path:
        yield
        return
    sys.path.append(here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _function(name: str) -> Callable[..., Any]:
    package, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(package)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise UsageError(
            f"classifier {name!r} cannot be imported: {_told(error)}",
            expected=f"a module {package} in the current folder or installed",
        ) from error
    functions = [n for n, value in vars(found).items() if callable(value) and n[0] != "_"]
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        close = difflib.get_close_matches(attribute, functions, n=1)
        raise UsageError(
            f"classifier {name!r}: {package} has no function {attribute!r}"
            + (f" (did you mean {close[0]!r}?)" if close else "")
        )
    return found


def _call(
    name: str, function: Callable[..., Any], channels: int, n_classes: int, image_size: int
) -> nn.Module:
    try:
        inspect.signature(function).bind(channels, n_classes, image_size)
    except TypeError as error:
        raise UsageError(
            f"classifier {name!r} cannot be called as (channels, n_classes, image_size): {error}",
            expected="function(channels, n_classes, image_size) -> torch.nn.Module",
        ) from error
    except ValueError:  # written in C, without a signature to look at
        pass
    try:
        made = function(channels, n_classes, image_size)
    except Exception as error:
        raise UsageError(f"classifier {name!r} failed: {_told(error)}") from error
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"classifier {name!r} returned {type(made).__name__}", expected="a torch.nn.Module"
        )
    return made


def _from_timm(model: str, channels: int, n_classes: int) -> nn.Module:
    timm = _timm()
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=1)
        raise UsageError(
            f"timm has no model {model!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
        )
    try:
        network: nn.Module = timm.create_model(
            model, pretrained=False, in_chans=channels, num_classes=n_classes
        )
    except Exception as error:
        raise UsageError(f"classifier 'timm:{model}' failed: {_told(error)}") from error
    return network


def _timm() -> ModuleType:
    try:
        return importlib.import_module(TIMM)
    except ImportError as error:
        raise UsageError(
            f"classifiers timm:... need timm: {_told(error)}",
            remedy="run `pip install 'synthaug[timm]'`",
        ) from error


def _check(name: str, network: nn.Module, channels: int, n_classes: int, image_size: int) -> None:
    """One forward pass in evaluation mode; the network is left in training mode."""
    network.eval()
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, channels, image_size, image_size))
    except Exception as error:
        raise UsageError(
            f"classifier {name!r} cannot take images [2, {channels}, {image_size}, {image_size}]: "
            f"{_told(error)}"
        ) from error
    network.train()
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != [2, n_classes]:
        raise UsageError(
            f"classifier {name!r} gives {shape} for 2 images of {n_classes} classes",
            expected=f"logits [2, {n_classes}]",
        )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
