"""A board on this machine: an OpenSSH server of the tests' own on loopback, and a small kit to run on it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# A stand-in for the kit's benchmark: the same options, the same lines, no models.
BENCH = r"""
import argparse, hashlib, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--out")
parser.add_argument("--resume", action="store_true")
parser.add_argument("--runtime", nargs="+")
parser.add_argument("--exit", type=int, default=0)
parser.add_argument("--spoil", default="")
options = parser.parse_args()
open("started", "a").write("%s\n" % " ".join(sys.argv[1:]))
with open("manifest.json", "rb") as stream:
    manifest = hashlib.sha256(stream.read()).hexdigest()
rows, names = [], ["fp32", "pruned", "int8"]
still = {"cpu_khz": [], "cpu_limits_khz": [], "gpu_khz": [], "governors": [], "temperatures": {}}
if options.resume and os.path.exists(options.out + ".rows"):
    rows = [json.loads(line) for line in open(options.out + ".rows")]
else:
    open(options.out + ".rows", "w").close()
for number, name in enumerate(names):
    if name in [row["name"] for row in rows]:
        continue
    print("PROGRESS %d %d %s c int8" % (number, len(names), name))
    while os.path.exists("hold " + name):
        time.sleep(0.02)
    row = {"name": name, "file": name + ".c", "precision": "int8", "runtime": "c", "provider_asked": "c"}
    row.update(providers=["-O3"], cadence="back to back", batch=1, bytes=10, times_ms=[1.0], error=None)
    row.update(outputs_agree=True, state={"before": still, "after": still}, session=os.getpid())
    rows.append(row)
    with open(options.out + ".rows", "a") as stream:
        stream.write(json.dumps(row) + "\n")
if options.exit == 4:
    print("no runtime here")
    sys.exit(4)
result = {"format": 1, "kit": {"manifest_sha256": manifest}, "rows": rows, "finished": True}
result.update(device={"model": "a stand-in"}, state={"before": still, "after": still}, versions={}, arguments={})
if options.spoil == "kit":
    result["kit"]["manifest_sha256"] = "0" * 64
print("PROGRESS 3 3 done")
text = json.dumps(result, sort_keys=True, separators=(",", ":"))
result["sha256"] = hashlib.sha256(text.encode()).hexdigest()
if options.spoil == "rows":
    rows[0]["name"] = "faster"
with open(options.out, "w") as stream:
    json.dump(result, stream)
sys.exit(options.exit)
"""
SETUP = 'echo "setting up"\necho x >> set_up_count\n'


@dataclass
class Server:
    """A running sshd.

    Args:
        host: user@127.0.0.1.
        options: that lead ``ssh`` there, with the tests' own key.
        process: the server.
        folder: where its files lie.
    """

    host: str
    options: list[str]
    process: subprocess.Popen[bytes]
    folder: Path

    def sessions(self) -> list[psutil.Process]:
        """The server's processes of connections that are open now."""
        return psutil.Process(self.process.pid).children()

    def cut(self) -> None:
        """Break all connections, as a pulled cable does for the programs on both sides."""
        for session in self.sessions():
            for process in [session, *(p for p in session.children(recursive=True) if "sshd" in p.name())]:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _known_hosts(port: int, key: Path) -> str:
    return f"[127.0.0.1]:{port} {key.with_suffix('.pub').read_text()}"


@pytest.fixture(scope="session")
def start_server(tmp_path_factory) -> Iterator[Callable[..., Server]]:
    """start_server(environment, name): an sshd that sets HOME and these variables, such as "PATH=/nowhere"."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH server and client here (Debian: openssh-server)")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # sshd started by root insists on it
    running: list[subprocess.Popen[bytes]] = []

    def start(environment: str = "", name: str = "sshd") -> Server:
        folder, port = tmp_path_factory.mktemp(name), _free_port()
        _keygen(folder / "host_key")
        _keygen(folder / "key")
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        (folder / "known_hosts").write_text(_known_hosts(port, folder / "host_key"))
        (folder / "home").mkdir()
        (folder / "config").write_text(
            textwrap.dedent(f"""\
                Port {port}
                ListenAddress 127.0.0.1
                HostKey {folder}/host_key
                AuthorizedKeysFile {folder}/authorized_keys
                PidFile {folder}/pid
                PasswordAuthentication no
                KbdInteractiveAuthentication no
                UsePAM no
                StrictModes no
                PermitRootLogin prohibit-password
                PermitUserRC no
                MaxStartups 50
                SetEnv HOME={folder}/home {environment}
                """)
        )
        log = open(folder / "log", "wb")  # noqa: SIM115 - the server's
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
        running.append(process)
        until = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > until:
                pytest.skip(f"sshd does not start here: {(folder / 'log').read_text()[-200:]}")
            time.sleep(0.02)
        options = [
            *("-F", "none", "-p", str(port), "-i", str(folder / "key")),
            *("-o", f"UserKnownHostsFile={folder}/known_hosts", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"),
        ]
        return Server(f"{getpass.getuser()}@127.0.0.1", options, process, folder)

    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """An sshd that lets the tests in, with a home folder of its own."""
    return start_server()


def write_manifest(folder: Path, sums: dict[str, str]) -> None:
    """A manifest that names these files and no networks."""
    files = {name: {"sha256": digest, "bytes": 1} for name, digest in sums.items()}
    inputs = {"npz": "inputs/inputs.npz", "count": 1, "shape": [3, 32, 32]}
    content = {"format": 1, "course": "1", "data": "rendered", "inputs": inputs, "models": [], "files": files}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture
def make_kit(tmp_path) -> Callable[..., Path]:
    """make_kit(**files): a kit's folder; files: name -> text or bytes, in addition to the benchmark and the set-up."""

    def make(name: str = "kit", **files: str | bytes) -> Path:
        folder = tmp_path / name
        content: dict[str, bytes] = {"edge_bench.py": BENCH.encode(), "setup.sh": SETUP.encode()}
        content |= {"models/fp 32.onnx": b"a model " * 1000, "empty": b""}
        content |= {key: value if isinstance(value, bytes) else value.encode() for key, value in files.items()}
        for key, value in content.items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(value)
        write_manifest(folder, {key: hashlib.sha256(value).hexdigest() for key, value in content.items()})
        return folder

    return make
