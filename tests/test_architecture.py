"""The order of the rooms: what may import what, and what the import of the package costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gdregress

ROOT = Path(gdregress.__file__).parent

# A room imports only rooms above it. A new module has to find its place here first.
ORDER = [
    "_typing",
    "_precision",
    "_linalg",
    "_ranges",
    "rows",
    "problem",
    "_growing",
    "history",
    "solvers",
    "_synonyms",
    "_constructor",
    "_suited",
    "_parameters",
    "_checks",
    "_watch",
    "_saving",
    "_showing",
    "_advice",
    "_reading",
    "_fitting",
    "_streaming",
    "_predicting",
    "_base",
    "linear",
    "logistic",
    "gdregress",  # the package's own __init__
    "_screen",
    "_progress",
    "checkpoint",
    "callback",
    "onnx",
    "model_selection",
    "inspection",
    "dask",
    "cli",
    "__main__",
]
OPTIONAL = {"dask", "distributed", "matplotlib", "pandas", "polars", "rich", "skl2onnx", "skops"}
MODULES = sorted(ROOT.rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "gdregress"


def imports(path):
    """Every import of a module: (module, names, whether it stands at the top level, line)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deferred = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = []
    for node in ast.walk(tree):
        top = node not in deferred
        if isinstance(node, ast.Import):
            found += [(alias.name, [], top, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, [alias.name for alias in node.names], top, node.lineno))
    return found


def imported_modules(path):
    """The modules of this package that a module imports, at the top or inside a function."""
    known = {module_name(other) for other in MODULES}
    targets = set()
    for module, names, _, _ in imports(path):
        if module.split(".")[0] != "gdregress":
            continue
        submodules = {f"{module}.{name}" for name in names} & known
        targets |= submodules
        if module in known and (not names or len(submodules) < len(names)):
            targets.add(module)
    return targets


def test_every_module_has_a_room():
    assert {room(module_name(path)) for path in MODULES} <= set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_room_imports_only_rooms_above_it(path):
    here = room(module_name(path))
    for target in imported_modules(path):
        there = room(target)
        assert here == there or ORDER.index(there) < ORDER.index(here), (
            f"{module_name(path)} imports {target}, which is not above it"
        )


@pytest.mark.parametrize("path", sorted((ROOT / "solvers").rglob("*.py")), ids=module_name)
def test_solvers_know_no_loss_and_no_penalty(path):
    """They ask what it declares; see solvers.needs."""
    rooms = ("losses", "class_losses", "penalty")
    known = {f"gdregress.problem.{room}" for room in rooms}
    assert not imported_modules(path) & known
    asked = {
        argument.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "isinstance"
        for argument in ast.walk(node.args[1])
        if isinstance(argument, ast.Name)
    }
    assert not {name for name in asked if name.endswith(("Loss", "Net", "Penalty"))}


OUTSIDE = [
    path for path in MODULES if room(module_name(path)) in ("problem", "solvers", "inspection")
]


@pytest.mark.parametrize("path", OUTSIDE, ids=module_name)
def test_a_container_is_known_in_its_room_alone(path):
    """Others ask its design what is done with the rows, and what they cost; see rows.design."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert not read & {"nnz", "indptr", "indices", "issparse", "is_sparse"}
    assert "issparse" not in {node.id for node in nodes if isinstance(node, ast.Name)}


def test_imports_have_no_circles():
    graph = {module_name(path): imported_modules(path) for path in MODULES}
    # A package's __init__ gathers the names of its modules; importing a sibling is no circle.
    for path in MODULES:
        name = module_name(path)
        graph[name].discard(name.rpartition(".")[0] if path.name != "__init__.py" else name)
    finished = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in finished:
            for target in graph[name]:
                visit(target, [*trail, name])
            finished.add(name)

    for name in graph:
        visit(name, [])
    assert finished == set(graph)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_private_is_imported_from_scikit_learn(path):
    for module, names, _, line in imports(path):
        if module.split(".")[0] == "sklearn":
            private = [part for part in [*module.split("."), *names] if part.startswith("_")]
            assert not private, f"{path.name}:{line} imports {private} from {module}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_optional_packages_are_imported_where_they_are_used(path):
    for module, _, top, line in imports(path):
        if module.split(".")[0] in OPTIONAL:
            # The command line is made of them: its rooms are loaded when the program runs.
            assert not top or room(module_name(path)) == "cli", (
                f"{path.name}:{line} imports {module} at the top of the module"
            )
            assert ORDER.index(room(module_name(path))) > ORDER.index("gdregress") or (
                room(module_name(path)) == "history" and module == "pandas"
            ), f"{path.name}:{line} imports {module} in a room of the core"


def run_python(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_the_package_loads_no_optional_package():
    # scikit-learn itself loads some of them where they are installed; that is its own affair.
    code = f"""
import sys
import sklearn.callback, sklearn.linear_model
before = set(sys.modules)
import gdregress, gdregress.inspection, gdregress.cli, gdregress.__main__
print(sorted(set({sorted(OPTIONAL)!r}) & (set(sys.modules) - before)))
"""
    assert run_python(code) == "[]"


def test_the_core_works_where_no_optional_package_is_installed():
    code = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(OPTIONAL)!r}))  # None: importing it raises ImportError
import gdregress.inspection, gdregress.cli, gdregress.__main__
print(gdregress.LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_.round(12))
"""
    assert run_python(code) == "[2.]"


PAGE = ROOT.parent / "docs" / "rooms.md"
# Of a checkout: an installed package has no pages.
of_the_page = pytest.mark.skipif(not PAGE.exists(), reason="no documentation beside the package")


@of_the_page
def test_the_page_of_the_rooms_names_every_room():
    words = set(re.findall(r"\w+", PAGE.read_text(encoding="utf-8")))
    for path in MODULES:
        name, *inner = path.relative_to(ROOT).with_suffix("").parts
        if name in {"cli", "inspection"} and inner:
            continue  # rooms of their own kind, under one name
        assert {name, *inner} - {"__init__", "__main__"} <= words, f"{module_name(path)} is missing"


@of_the_page
def test_what_the_page_of_the_rooms_points_at_is_there():
    page = PAGE.read_text(encoding="utf-8")
    pointers = re.findall(r"`([\w/]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", page)
    assert len(pointers) > 15
    for file, names in pointers:
        path = ROOT.parent / file if file.startswith("tests/") else ROOT / file
        assert path.exists(), f"docs/rooms.md points at {file}"
        defined = {getattr(node, "name", None) for node in ast.parse(path.read_text("utf-8")).body}
        for name in re.findall(r"`(\w+)`", names):
            assert name in defined, f"docs/rooms.md points at {name} in {file}"


@of_the_page
def test_the_rooms_that_the_page_describes_are_there():
    """The words in code in the table of the layers are rooms, names of verbs, or folders."""
    table = PAGE.read_text(encoding="utf-8").split("| layer | rooms |")[1].split("\n\n")[0]
    rooms = {path.stem for path in MODULES} | {"times", "pull", "gram", "reduce", "fit"}
    for word in re.findall(r"`(\w+)/?`", table):
        assert word in rooms or (ROOT / word).is_dir() or list(ROOT.rglob(f"{word}/")), word
