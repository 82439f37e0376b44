"""A Windows for the tests: Wine, and in it a genuine CPython for Windows with what the package needs.

The interpreter's DLL and its modules, as python.org built and signed them, lie in the wheel of a game engine that packs
programs with them; the rest of the standard library is this machine's. Two small programs are compiled: python.exe, and
a netsh.exe in place of Wine's, which does nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import sys
import sysconfig
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from made_netsh import FakeNetsh

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".servers" / "windows"
WHEEL = "panda3d==1.10.16"
PACKAGES = ("redis", "psutil", "pytest", "pytest-timeout", "hypothesis")
MINOR = f"{sys.version_info[0]}{sys.version_info[1]}"
PARAMETERS = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
COMMANDS = """
import contextlib, io, json, sys
from redis_wanpool.cli.main import main
for line in sys.stdin:
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\\n", write_through=True)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = main(json.loads(line))
    print(json.dumps([code, text.buffer.getvalue().decode()]), flush=True)
"""
"""one command after the other: Python takes seconds to start here"""
LANGUAGES = {936: "zh", 850: "fr"}
COMPILER = "x86_64-w64-mingw32-gcc"


def python_for_windows() -> Path:
    """The folder with python.exe; made once."""
    if (FOLDER / "ready").exists():
        return FOLDER
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "DLLs").mkdir(parents=True)
    pip = [os.environ.get("PYTHON", "python3"), "-m", "pip", "-q", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--platform", "win_amd64", "--implementation", "cp", "--python-version", MINOR]
    with tempfile.TemporaryDirectory() as scratch:
        _run(*pip, "download", "--no-deps", *target, "--abi", f"cp{MINOR}", "-d", scratch, WHEEL)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                path = Path(entry)
                if path.parts[0] == "deploy_libs" and path.suffix in (".dll", ".pyd") and "api-ms" not in path.name:
                    is_core = path.stem.lower() in (f"python{MINOR}", "vcruntime140", "vcruntime140_1")
                    (FOLDER / ("" if is_core else "DLLs") / path.name).write_bytes(archive.read(entry))
    left_out = shutil.ignore_patterns(
        "test", "site-packages", "dist-packages", "__pycache__", "lib-dynload", "config-*"
    )
    shutil.copytree(sysconfig.get_path("stdlib"), FOLDER / "Lib", ignore=left_out)
    _run(*pip, "install", *target, "--target", str(FOLDER / "Lib" / "site-packages"), *PACKAGES)
    _pack()
    _compile("python", "-municode", "-L", str(FOLDER), f"-l:python{MINOR}.dll")
    _compile("netsh", "-lws2_32")
    _forward()
    (FOLDER / "ready").touch()
    return FOLDER


def _pack() -> None:
    """Modules as one file, for Wine takes 10 ms to find each; what is no pure Python stays."""
    library = FOLDER / "Lib"
    with zipfile.PyZipFile(str(FOLDER / f"python{MINOR}.zip"), "w", optimize=0) as archive:
        archive.writepy(str(library))
        for place in (library, library / "site-packages"):
            for package in sorted(path.parent for path in place.glob("*/__init__.py")):
                if not any(package.rglob("*.pyd")):
                    archive.writepy(str(package))
                    shutil.rmtree(package)
    for module in library.glob("*.py"):
        module.unlink()
    ours = [windows_path(ROOT), windows_path(ROOT / "tests")]  # looked through after all others
    (library / "site-packages" / "ours.pth").write_text("\n".join(ours))


def _compile(name: str, *options: str) -> None:
    _run(COMPILER, "-O1", "-o", str(FOLDER / f"{name}.exe"), str(Path(__file__).with_name(f"{name}.c")), *options)


def _forward() -> None:
    """python3.dll, which extensions for any version want: every name is one of this version's DLL."""
    dump = _run("x86_64-w64-mingw32-objdump", "-p", str(FOLDER / f"python{MINOR}.dll"))
    table = dump.partition("[Ordinal/Name Pointer] Table")[2].partition("\n\n")[0]
    names = [words[-1] for words in map(str.split, table.splitlines()) if words and words[-1].startswith(("Py", "_Py"))]
    definition = FOLDER / "python3.def"
    definition.write_text(
        "LIBRARY python3.dll\nEXPORTS\n" + "".join(f"{name} = python{MINOR}.{name}\n" for name in names)
    )
    _run(COMPILER, "-shared", "-nostdlib", "-Wl,--entry=0", "-o", str(FOLDER / "python3.dll"), str(definition))


def _run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
    return done.stdout


def windows_path(path: Path) -> str:
    return "Z:" + str(PureWindowsPath(path))


class Asked(socketserver.StreamRequestHandler):
    """Answers one netsh.exe."""

    def handle(self) -> None:
        page, *words = self.rfile.readline().decode().rstrip("\n").split("\t")
        code, text = self.server.netsh(words, LANGUAGES.get(int(page), "en"))  # type: ignore[attr-defined]
        self.wfile.write(bytes([code]) + text.replace("\n", "\r\n").encode(f"cp{page}"))


class Answers(socketserver.ThreadingTCPServer):
    """Answers each netsh.exe of a made-up Windows, in the language of its code page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.remembers = FakeNetsh()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def netsh(self, words: list[str], language: str) -> tuple[int, str]:
        self.remembers.language = language
        return self.remembers(words)


@dataclass
class Windows:
    """One made-up machine: a Wine prefix, and what its netsh remembers."""

    prefix: Path
    answers: Answers
    locale: str = "C.UTF-8"
    has_netsh: bool = True
    """or Wine's, which says and does nothing"""
    commands: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        self.run("wineboot", "-i")
        self.end()
        shutil.copy(python_for_windows() / "netsh.exe", self.prefix / "drive_c" / "windows" / "system32" / "netsh.exe")
        self.stay()

    def is_version(self, name: str) -> None:
        """Makes it a "win81" or "win10"."""
        self.hang_up()
        self.run("winecfg", "-v", name)

    def speaks(self, locale: str) -> None:
        """Makes another locale its language and code page."""
        self.end()
        self.locale = locale
        self.stay()

    def stay(self) -> None:
        """Has its services run from one program to the next: they take seconds to start, and keep what they inherit."""
        subprocess.run(["wineserver", "-p"], env=self._env(), check=True)
        command = ["wine", "reg", "query", "HKLM"]
        nowhere = subprocess.DEVNULL
        subprocess.run(command, check=True, env=self._env(), stdin=nowhere, stdout=nowhere, stderr=nowhere)

    def hang_up(self) -> None:
        if self.commands is not None:
            self.commands.communicate()
            self.commands = None

    def end(self) -> None:
        self.hang_up()
        subprocess.run(["wineserver", "-k", "-w"], env=self._env(), check=False)

    def _env(self, cwd: Path | None = None) -> dict[str, str]:
        overrides = "mscoree,mshtml=" + (";netsh.exe=n" if self.has_netsh else ";netsh.exe=b")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER") if name in os.environ}
        return {
            **kept,
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": overrides,
            "WINEPATH": windows_path(FOLDER),
            "LC_ALL": self.locale,
            "LOCPATH": str(self.prefix.parent / "locales"),
            "PYTHONSAFEPATH": "" if cwd else "1",
            "PYTHONHOME": windows_path(FOLDER),
            "PYTHONPYCACHEPREFIX": windows_path(self.prefix.parent / "compiled"),
            "WANPOOL_TEST_NETSH": str(self.answers.server_address[1]),
        }

    @property
    def netsh(self) -> FakeNetsh:
        return self.answers.remembers

    @netsh.setter
    def netsh(self, remembers: FakeNetsh) -> None:
        self.answers.remembers = remembers

    def run(self, *words: str, code: int | None = 0, cwd: Path | None = None) -> bytes:
        """What a program prints, on either stream; its exit code must be that, if any is given."""
        done = subprocess.run(
            ["wine", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env(cwd),
            cwd=cwd,
            timeout=300,
            check=False,
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout.decode(errors="replace"))
        return done.stdout

    def python(self, *words: str, code: int | None = 0, cwd: Path | None = None) -> bytes:
        return self.run(str(FOLDER / "python.exe"), *words, code=code, cwd=cwd)

    def wanpool(self, *words: str, code: int | None = 0) -> str:
        """What a command prints on either stream, and its exit code; many in one process."""
        if self.commands is None:
            command = ["wine", str(FOLDER / "python.exe"), "-c", COMMANDS]
            pipe = subprocess.PIPE  # a file would not do: Python does not start on one here
            self.commands = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self._env())
        assert self.commands.stdin and self.commands.stdout
        self.commands.stdin.write(json.dumps(words) + "\n")
        self.commands.stdin.flush()
        ended, text = json.loads(self.commands.stdout.readline())
        assert code is None or ended == code, (words, ended, text)
        return str(text)

    def registry(self, name: str) -> str | None:
        """A value of the TCP parameters, as Windows' own tool shows it: type and data."""
        text = self.run("reg", "query", PARAMETERS, "/v", name, code=None).decode(errors="replace")
        found = [line.split(None, 2) for line in text.splitlines() if line.split(None, 1)[:1] == [name]]
        return " ".join(found[0][1:]) if found else None


def make_locales(folder: Path, *names: str) -> None:
    """Locales that this machine need not have."""
    for name in names:
        (folder / "locales").mkdir(exist_ok=True)
        _run("localedef", "-i", name, "-f", "UTF-8", str(folder / "locales" / f"{name}.UTF-8"))
