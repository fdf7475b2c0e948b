"""Nothing is sent anywhere unless the user names a dataset of the Hub."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SESSION = """
    import json, socket, sys

    def blocked(*args, **options):
        raise SystemExit(f"the network was asked for: {args}")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        setattr(socket, name, blocked)
    socket.socket.connect = socket.socket.connect_ex = blocked
    from synthaug.cli.main import main

    main(sys.argv[1:])
"""


def test_these_tests_may_not_use_the_network(outside_calls: list[str]):
    with pytest.raises(OSError, match="network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address for documentation
    with pytest.raises(OSError, match="network"):
        socket.getaddrinfo("example.org", 80)
    assert len(outside_calls) == 2
    outside_calls.clear()  # or this test would fail for what it did


def test_what_stays_on_this_machine_is_no_network(outside_calls: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    assert outside_calls == []


@pytest.mark.slow
def test_the_demo_needs_no_network(tmp_path: Path):
    """As a user starts it, at the scale of the smoke recipe, with every way out blocked."""
    home = tmp_path / "demo"
    words = ["demo", "--recipe", "smoke", "--set", "evaluation.seeds=1", "--out", str(home)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SESSION), *words, "--json"],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "network" not in done.stderr
    assert json.loads(done.stdout)["run"] == str(home / "run")
    assert (home / "run" / "report.html").is_file()
