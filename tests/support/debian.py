"""Runs a shell command on a bare Debian 12: debootstrap's smallest, with python3, pip, make and git.

It is made each time, and gets what the repository has and no more: no environment, server or cache of an earlier run.
Packages come from where this machine gets them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = "python3,python3-pip,make,git,ca-certificates"
INSIDE = "/home/somebody/redis-wanpool"
FILES = ["etc/pip.conf", "etc/xdg/pip", "etc/ssl/certs", "etc/resolv.conf", "etc/hosts"]
FILES += ["usr/local/share/ca-certificates"]
"""how this machine reaches its package index, and knows it"""
SETTINGS = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def run(*words: str | Path, **more: object) -> None:
    print("+", *words, flush=True)
    subprocess.run([str(word) for word in words], check=True, **more)  # type: ignore[call-overload]


def make(root: Path) -> None:
    """A bare Debian in that folder."""
    mirror, suite = source()
    hasty = {**os.environ, "DPKG_FORCE": "unsafe-io"}  # it need not outlive a crash
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root, mirror, env=hasty)


def fill(root: Path) -> None:
    """With what the repository has, and the way to the packages, for a user of no rights."""
    for name in FILES:
        there, here = root / name, Path("/") / name
        if here.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            run("cp", "-aT", "--remove-destination", here, there)
    config = Path("~/.config/pip").expanduser()
    if config.is_dir():
        shutil.copytree(config, root / "home/somebody/.config/pip")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / INSIDE[1:] / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / INSIDE[1:] / name)
    root.chmod(0o755)
    run("chroot", root, "useradd", "--home-dir", "/home/somebody", "somebody")
    run("chroot", root, "chown", "-R", "somebody:", "/home/somebody")


def source() -> tuple[str, str]:
    """The mirror that apt uses here, and the name of Debian 12."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sites = [line.split(" ")[0] for line in told.splitlines() if line.split(" ")[1:] == ["bookworm", "main"]]
    assert sites, "apt has no source of Debian 12 (bookworm, main) here, from which a bare one could be made"
    return sites[0], "bookworm"


def local_folders() -> list[str]:
    """Folders of this machine from which pip takes packages."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    paths = [Path(word) for word in told.replace("'", " ").split() if word.startswith("/")]
    # The files of an index lie beside its pages.
    paths += [Path(word).parent for word in re.findall(r"file://(/[^\s']+)", told)]
    return [str(path) for path in paths if path.is_dir()]


def main() -> int:
    assert os.geteuid() == 0, "this makes a file system of its own: run it as root"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the folder goes then, too
    with tempfile.TemporaryDirectory(prefix="debian-") as folder:
        root = Path(folder)
        make(root)
        fill(root)
        (root / "run.sh").write_text(f"cd {INSIDE}\n{sys.argv[1]}\n")
        mounts = [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc", f"mount -t sysfs sys {root}/sys"]
        for path in local_folders():
            (root / path[1:]).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind -o ro {path} {root}{path}")
        enter = f"exec chroot --userspec=somebody {root} sh /run.sh"
        env = {name: value for name, value in os.environ.items() if name.upper().startswith(SETTINGS)}
        env |= {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/home/somebody", "LANG": "C.UTF-8"}
        # What is mounted is seen in this command's namespace alone: there is nothing to clean up, and nothing to lose.
        namespaces = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        words = ["unshare", *namespaces, "sh", "-ec", "\n".join([*mounts, enter])]
        return subprocess.run(words, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
