"""The walls of the house: what each part of the package may reach by its imports, directly or through others."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch

import doprestore
from doprestore.baselines import METHODS
from doprestore.cli import COMMANDS
from doprestore.damage.make import corrupt
from doprestore.io.images import write_picture
from doprestore.outliers import MirrorOutliers
from doprestore.reproduce import FIGURES

PACKAGE = Path(doprestore.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
SHARED = {"errors", "outliers", "drive", "machine", "metrics"}
# Part of the package -> the parts that it may reach, besides itself.
WALLS = {
    "_version": set(),
    "errors": set(),
    "metrics": {"errors"},
    "outliers": {"errors"},
    "machine": {"errors"},
    "drive": {"errors", "metrics"},
    "image": SHARED,
    "matrix": SHARED,
    "damage": {"errors"},
    "io": {"errors", "machine", "_version"},
    "report": {"errors", "metrics", "machine", "io", "_version"},
    "baselines": SHARED | {"image", "matrix"},
    "reproduce": SHARED | {"image", "matrix", "baselines", "damage", "report", "io", "_version"},
}
UNWALLED = {"", "__main__", "cli"}
CONSOLE = {"click", "tqdm"}
PICTURE_FILES = {"PIL", "tifffile", "imagecodecs"}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Every module that the code imports, in functions too, but not what is for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write whole names of modules; relative ones are not followed here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node)


@cache
def _graph() -> Mapping[str, set[str]]:
    """Module of ours -> what it imports: modules of ours and the first names of others'."""
    graph = {}
    for module, path in MODULES.items():
        found = set(_imports(ast.parse(path.read_text())))
        # The public names, the methods and the figures are loaded from tables.
        found |= {f"doprestore.{doprestore._PUBLIC.get(name.removeprefix('doprestore.'), '-')}" for name in found}
        graph[module] = (found & MODULES.keys() | {name.split(".")[0] for name in found}) - {"doprestore"}
    graph["doprestore.baselines"] |= {f"doprestore.baselines.{method.module}" for method in METHODS.values()}
    graph["doprestore.reproduce"] |= {f"doprestore.reproduce.{entry.module}" for entry in FIGURES.values()}
    return graph


def _reached(module: str, graph: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """All that ``module`` reaches, each with the chain of imports that leads there."""
    chains = {module: [module]}
    ahead = [module]
    while ahead:
        here = ahead.pop()
        for name in graph.get(here, ()):
            if name not in chains:
                chains[name] = [*chains[here], name]
                ahead.append(name)
    return chains


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _breaches(graph: Mapping[str, set[str]]) -> list[str]:
    """The chains of imports that break through a wall or bring the console where it does not belong."""
    found = []
    for module in graph:
        part = _part(module)
        if part in UNWALLED:
            continue
        for name, chain in _reached(module, graph).items():
            ours = name.startswith("doprestore.")
            if name in CONSOLE or (ours and _part(name) not in WALLS[part] | {part}):
                found.append(" -> ".join(chain))
    return found


def test_every_part_has_its_walls():
    assert {_part(module) for module in MODULES} - UNWALLED == set(WALLS)
    assert len({_part(module) for module in MODULES} - {"", "__main__", "_version"}) <= 13


def test_the_walk_sees_the_package():
    graph = _graph()
    assert "doprestore.image.unet" in graph["doprestore.image.paper"] and "PIL" in graph["doprestore.io.decode"]
    assert "doprestore.matrix.api" in graph["doprestore.matrix.estimator"]
    assert "doprestore.image.unet" in _reached("doprestore.cli.image", graph)
    assert "doprestore.image.unet" in _reached("doprestore.baselines", graph)


def test_no_wall_is_broken():
    assert _breaches(_graph()) == []


@pytest.mark.parametrize(
    ("module", "extra", "through"),
    [
        ("doprestore.image.unet", "doprestore.io.files", "doprestore.image.api"),
        ("doprestore.matrix.flow", "doprestore.image.settings", "doprestore.matrix.solver"),
        ("doprestore.machine", "doprestore.image.settings", "doprestore.matrix.api"),
        ("doprestore.io.files", "doprestore.matrix.api", "doprestore.io.images"),
        ("doprestore.metrics", "tqdm", "doprestore.image.recovery"),
        ("doprestore.report.plots", "doprestore.cli", "doprestore.reproduce.fig_pictures"),
    ],
)
def test_a_breach_is_seen_from_afar(module, extra, through):
    graph = dict(_graph())
    graph[module] = graph[module] | {extra}
    assert any(chain.startswith(f"{through} -> ") and f"{module} -> {extra}" in chain for chain in _breaches(graph))


def test_only_io_and_report_know_picture_files():
    graph = _graph()
    found = {_part(module) for module in graph if graph[module] & PICTURE_FILES}
    assert "io" in found and found <= {"io", "report"}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if _part(name) not in ("cli", "io")))
def test_only_the_command_line_prints_and_only_io_opens_files(module):
    allowed = {"read_text"} if module == "doprestore.machine" else set()  # what the system says in /proc
    calls = {node.func for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Call)}
    names = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in calls}
    assert not names & ({"print", "echo", "open", "write_text", "write_bytes", "read_text", "read_bytes"} - allowed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_torch(command):
    code = f"import sys; from doprestore.cli import run; run(['{command}', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", doprestore.__all__)
def test_public_names(name):
    assert getattr(doprestore, name) is not None
    if name != "__version__":
        assert getattr(import_module(f"doprestore.{doprestore._PUBLIC[name]}"), name) is getattr(doprestore, name)


def test_the_way_from_the_command_to_the_step_of_eq_10_is_short(run_cli, tmp_path, monkeypatch):
    """The modules on the stack when g and h take a step of the fit, from the command's own module on."""
    clean = torch.linspace(0.2, 0.8, 32).expand(3, 32, 32)
    write_picture(tmp_path / "in.png", corrupt(clean, "salt-pepper", 0.05, 0).picture.numpy())
    stacks = []
    take = MirrorOutliers.step_

    def watched(self, *args):
        frame, modules = sys._getframe(), []
        while frame is not None:
            modules.append(frame.f_globals.get("__name__", ""))
            frame = frame.f_back
        stacks.append([name for name in reversed(modules) if name.startswith("doprestore.")])
        take(self, *args)

    monkeypatch.setattr(MirrorOutliers, "step_", watched)
    assert run_cli("image", tmp_path / "in.png", tmp_path / "out.png", "--steps", 2, "--device", "cpu").code == 0
    way = list(dict.fromkeys(stacks[-1]))
    assert way[0] == "doprestore.cli" and way[1] == "doprestore.cli.image" and len(way) <= 9, way
