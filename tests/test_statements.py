"""What the repository says about itself is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

from mutants import MUTANTS
from scheduling import CONNECT

import redis_wanpool
from redis_wanpool.protocol.keys import WAN_KEYS, namespace_keys

ROOT = Path(__file__).parents[1]
ENV = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
LUA = ROOT / "lua"


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def rows(path: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is that."""
    table = text(path).partition(f"\n| {first} |")[2].partition("\n\n")[0]
    assert table, f"{path} has no table that begins with {first}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


def scripts(pattern: str) -> set[str]:
    return {path.relative_to(LUA).with_suffix("").as_posix() for path in LUA.glob(pattern)}


def test_each_file_that_connects_has_its_own_ports() -> None:
    whose: dict[int, str] = {}
    for name, ports in CONNECT.items():
        ranges = [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", ports)]
        assert ranges, name
        for first, last in ranges:
            for port in range(first, last + 1):
                assert whose.setdefault(port, name) == name, f"{port} is of {whose[port]} and of {name}"


class TestMutants:
    def test_each_has_its_line_once_and_its_tests(self) -> None:
        wrong = [f"{mutant.name}: {what}" for mutant in MUTANTS if (what := mutant.misplaced(ROOT))]
        assert not wrong, "\n".join(wrong)

    def test_each_changes_something_and_has_a_name_of_its_own(self) -> None:
        assert not [mutant.name for mutant in MUTANTS if mutant.old == mutant.new]
        assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)

    def test_a_selection_of_none_fails(self) -> None:
        command = [sys.executable, str(ROOT / "tests/mutants/run.py"), "no such mutant"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and "none of" in done.stderr


class TestScripts:
    def test_the_specification_names_all_keys(self) -> None:
        named = {
            re.match(r"`(\$[WN])`(\w+)", cell) for row in rows("lua/README.md", "key") for cell in row[0].split(", ")
        }
        assert None not in named
        found = {(one[1], one[2]) for one in named if one}
        source = "".join(text(f"lua/{name}.lua") for name in scripts("**/*.lua"))
        built = set(WAN_KEYS) | set(re.findall(r'prefix \.\. "(\w+):?"', source))
        of_namespace = {key.rpartition(":")[2] for key in namespace_keys("any")}
        assert found == {("$W", name) for name in built} | {("$N", name) for name in of_namespace}

    def test_they_and_the_specification_speak_of_one_protocol(self) -> None:
        source = "".join(text(f"lua/{name}.lua") for name in scripts("**/*.lua"))
        versions = set(re.findall(r'local PROTOCOL\b[^=]*= "(\d+)"', source))
        assert (
            versions == set(re.findall(r"version of this protocol, (\d+)", text("lua/README.md")))
            and len(versions) == 1
        )

    def test_they_are_short(self) -> None:
        longer = {name: len(text(f"lua/{name}.lua").splitlines()) for name in scripts("**/*.lua")}
        longer = {name: lines for name, lines in longer.items() if lines > 60}
        assert not longer, "split it"

    def test_the_specification_names_all_of_them(self) -> None:
        named = [name for row in rows("lua/README.md", "script") for name in re.findall(r"`(\w+)`", row[0])]
        assert sorted(named) == sorted(scripts("*.lua"))

    def test_a_part_includes_nothing(self) -> None:
        assert not [name for name in scripts("lib/*.lua") if "@include" in text(f"lua/{name}.lua")]

    def test_each_part_is_used(self) -> None:
        included = {
            name
            for script in scripts("*.lua")
            for line in re.findall(r"^ *-- @include (.*)$", text(f"lua/{script}.lua"), re.MULTILINE)
            for name in re.findall(r"\w+", line)
        }
        assert {f"lib/{name}" for name in included} == scripts("lib/*.lua")


def test_the_paths_of_the_commands_are_there() -> None:
    targets = [
        name
        for words in re.findall(r"^([a-z][a-z -]*):(?!=)", text("Makefile"), re.MULTILINE)
        for name in words.split()
    ]
    told = subprocess.run(
        ["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True, text=True, env=ENV
    ).stdout
    paths = set(re.findall(r"(?<![\w/])(?:tests|bench|lua)/[\w./]*\w", told + text(".ci/run")))
    assert len(paths) > 20 and not [path for path in paths if not (ROOT / path).exists()]


def test_the_table_of_parts_has_all_that_is_run() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("CONTRIBUTING.md", "part (`make ...`)")}
    (everything,) = re.findall(r"^PARTS := (.*)$", text("Makefile"), re.MULTILINE)
    ci = re.findall(r"(?:make|parts\.py) (.*)$", text(".ci/run").partition("export")[2], re.MULTILINE)
    assert {part for part in told if "test-all" in told[part]} == set(everything.split())
    assert {part for part in told if ".ci/run" in told[part]} == set(" ".join(ci).split())


def test_what_is_cited_is_this_version() -> None:
    assert f"\nversion: {redis_wanpool.__version__}\n" in text("CITATION.cff")


class TestSourceArchive:
    def test_it_has_what_it_names(self) -> None:
        named = tomllib.loads(text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
        assert not [path for path in named if not (ROOT / path[1:]).exists()]

    def test_it_has_all_that_is_in_the_repository(self, tmp_path: Path) -> None:
        archive = built(ROOT, tmp_path, "sdist")
        with tarfile.open(archive) as tar:
            inside = {name.partition("/")[2] for name in tar.getnames()}
        assert not [path for path in tracked() if path not in inside]

    def test_it_builds_the_same_wheel(self, tmp_path: Path) -> None:
        archive = built(ROOT, tmp_path / "archive", "sdist")
        subprocess.run(["tar", "-xf", str(archive), "-C", str(tmp_path)], check=True)
        (unpacked,) = tmp_path.glob("redis_wanpool-*")
        here, there = built(ROOT, tmp_path / "here", "wheel"), built(unpacked, tmp_path / "there", "wheel")
        assert here.read_bytes() == there.read_bytes()
        names = set(zipfile.ZipFile(here).namelist())
        data = {f"redis_wanpool/{name}" for name in ("py.typed", "terminal/zh.toml", "doctor/findings.toml")}
        assert {f"redis_wanpool/lua/{name}.lua" for name in scripts("**/*.lua")} | data <= names


def built(source: Path, into: Path, target: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    (archive,) = into.iterdir()
    return archive


def tracked() -> list[str]:
    """What the repository has; where there is none, as in the archive itself, what is at its top."""
    if not (ROOT / ".git").exists():
        return [
            name for name in ("README.md", "Makefile", "CONTRIBUTING.md", "pyproject.toml") if (ROOT / name).exists()
        ]
    git = ["git", "-c", "safe.directory=*", "ls-files"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if os.path.lexists(ROOT / path)]
