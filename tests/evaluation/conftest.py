"""The simulated classifiers of benchmarks/, whose true differences are known."""

import importlib.util
import sys
from pathlib import Path

import pytest

SIMULATED = Path(__file__).parents[2] / "benchmarks/simulated.py"


@pytest.fixture(scope="session")
def world():
    """The class `World` of benchmarks/simulated.py."""
    spec = importlib.util.spec_from_file_location("simulated", SIMULATED)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.World
