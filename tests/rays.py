"""Ray on two nodes: in two network namespaces if the rights allow it, or else on two loopback addresses."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_RAY = Path(sys.executable).with_name("ray")
_PORT = 6399
LOSSES = ("actor killed", "task killed", "raylet killed", "no node for 75 s", "link down 10 s", "link down for good")


@dataclass
class Rays:
    """A head without processors and a node with two, which does not see the folder `unseen`.

    within is the command that runs another one beside the head; environment has the cluster's token.
    """

    within: list[str]
    address: str
    node_address: str
    environment: dict[str, str]
    unseen: Path
    folder: Path
    link: list[str] | None
    node: subprocess.Popen[bytes] = field(init=False)

    @property
    def are_apart(self) -> bool:
        """Whether the nodes are in namespaces of their own."""
        return self.link is not None

    def start_node(self) -> None:
        """Start the node, and wait until it has joined."""
        hide = ["sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(self.unseen)]
        apart = ["ip", "netns", "exec", self.link[2], *hide] if self.link is not None else []
        self.node = self._started("node", apart, self.node_address)

    @contextmanager
    def another_node(self) -> Iterator[None]:
        """One more node, beside the head."""
        node = self._started("other", self.within, self.address.split(":")[0])
        yield
        _end(node)

    def _started(self, name: str, within: list[str], address: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{name}.log"
        given = ["--address", self.address, "--node-ip-address", address, "--num-cpus", "2"]
        start = [*within, str(_RAY), "start", "--block", "--disable-usage-stats", *given]
        return _running(start, log, self.environment)

    def kill_node(self) -> None:
        """Kill the node's Ray, as if its power had gone."""
        for process in psutil.Process(self.node.pid).children(recursive=True):
            if process.name() == "raylet":
                process.kill()
        self.node.wait()

    def kill_workers(self, name: str) -> None:
        """Kill all processes of either node whose title begins with a name."""
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(name):
                    process.kill()

    def set_link(self, state: str) -> None:
        """Take the link between the nodes 'down', or bring it 'up'."""
        assert self.link is not None
        subprocess.run([*self.link, state], check=True)

    def run(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `cezsar` beside the head."""
        command = [*self.within, sys.executable, "-m", "cezsar", *arguments]
        given = {**self.environment, **environment}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)


@contextmanager
def two_nodes(folder: Path) -> Iterator[Rays]:
    """A cluster with a token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    unseen = folder / "unseen"
    unseen.mkdir()
    with ExitStack() as stack:
        # the names of Ray's sockets must be short, and its note of a running cluster is nobody else's business
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        environment = {**os.environ, **token, "RAY_TMPDIR": place}
        if may_make_namespaces():
            names = stack.enter_context(_namespaces())
            link: list[str] | None = ["ip", "-n", names[1], "link", "set", "veth0"]
            within, addresses = ["ip", "netns", "exec", names[0]], ("10.77.0.1", "10.77.0.2")
        else:
            within, addresses, link = [], ("127.0.0.1", "127.0.0.2"), None
        log = folder / "head.log"
        given = ["--head", "--port", str(_PORT), "--node-ip-address", addresses[0], "--num-cpus", "0"]
        start = [str(_RAY), "start", "--block", "--disable-usage-stats", "--include-dashboard=false", *given]
        head = _running([*within, *start], log, environment)
        stack.callback(_end, head)
        rays = Rays(within, f"{addresses[0]}:{_PORT}", addresses[1], environment, unseen, folder, link)
        rays.start_node()
        stack.callback(lambda: _end(rays.node))
        yield rays


def may_make_namespaces() -> bool:
    """Whether the rights are there to make a network of one's own, and so to mount a disk."""
    name = f"try{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
    if made:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    return made


@contextmanager
def _namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a link between them."""
    names = f"head{os.getpid()}", f"node{os.getpid()}"
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        _ip("-n", names[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", names[1])
        for number, name in enumerate(names, start=1):
            _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "veth0", "up")
        yield names


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _running(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A Ray that runs; on a busy machine it may not start in its 30 s, and is started again."""
    for _ in range(3):
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        while process.poll() is None:
            if "Ray runtime started" in log.read_text(errors="replace"):
                return process
            time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End `ray start --block`, which ends what it started."""
    process.terminate()
    process.wait(60)
