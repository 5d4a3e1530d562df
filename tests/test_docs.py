"""Every example in the README, the guide and the docstrings runs and prints what it says.

What they refer to is there.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import gdregress
from gdregress.solvers.descent.rules import RULES
from gdregress.solvers.descent.schedules import SCHEDULES
from gdregress.solvers.descent.stopping import CRITERIA

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = ["gdregress"] + [
    module.name
    for module in pkgutil.walk_packages(gdregress.__path__, "gdregress.")
    if module.name != "gdregress.__main__"
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def clean_room(tmp_path, monkeypatch):
    """Examples draw without a screen, write into a folder of their own, and register nothing."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    before = [(names, dict(names)) for names in (RULES, SCHEDULES, CRITERIA)]
    yield
    for names, as_they_were in before:
        names.clear()
        names.update(as_they_were)
    importlib.import_module("matplotlib.pyplot").close("all")


def fenced(page):
    """The python blocks of a Markdown page: (line number of the first line, text)."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(1)), match.group(1))
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def run(test):
    report = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page(page):
    parser = doctest.DocTestParser()
    examples = []
    for offset, block in fenced(page):
        found = parser.get_examples(block, page.name)
        assert found, f"{page.name}, line {offset + 1}: a python block without >>> is never run"
        for example in found:
            example.lineno += offset
        examples += found
    # One namespace for the page: an example may use what stands above it.
    run(doctest.DocTest(examples, {"__name__": "__main__"}, page.name, str(page), 0, None))


def test_the_pages_have_examples():
    assert {page.name for page in PAGES if fenced(page)} >= {"README.md", "guide.md", "index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"https?:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def docstring_tests():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        for test in finder.find(importlib.import_module(name), name):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(docstring_tests()))
def test_the_examples_of_a_docstring(test):
    run(test)


def docstrings(node, scopes):
    """Every docstring below a node, with the module and the classes that its names may be of."""
    if text := ast.get_docstring(node):
        yield scopes, text
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            own = [f"{scopes[0]}.{child.name}"] if isinstance(child, ast.ClassDef) else []
            yield from docstrings(child, [*own, *scopes])


def is_there(path):
    try:
        pkgutil.resolve_name(path)
    except (AttributeError, ImportError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", MODULES)
def test_whatever_a_docstring_refers_to_is_there(name):
    source = inspect.getsource(importlib.import_module(name))
    for scopes, text in docstrings(ast.parse(source), [name]):
        for target in re.findall(r":(?:class|func|meth|mod|attr):`~?(.+?)`", text):
            known = [*(f"{scope}.{target}" for scope in scopes), target]
            assert any(map(is_there, known)), f"{scopes[0]} refers to {target}"


PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in map(importlib.import_module, MODULES)
    if not any(part.startswith("_") for part in module.__name__.split("."))
    for name in getattr(module, "__all__", [])
    if not name.startswith("_")
}
ESTIMATORS = {
    name: thing
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing) and issubclass(thing, BaseEstimator) and hasattr(thing, "fit")
}


@pytest.mark.parametrize("name", PUBLIC)
def test_whatever_is_public_has_a_docstring(name):
    assert PUBLIC[name].__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_is_described(name):
    described = inspect.cleandoc(ESTIMATORS[name].__doc__ or "")
    for parameter in inspect.signature(ESTIMATORS[name]).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]* : ", described, re.MULTILINE), (
            f"the docstring of {name} does not describe {parameter}"
        )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_docstring_of_an_estimator_has_an_example(name):
    assert ">>> " in (ESTIMATORS[name].__doc__ or "")


def test_the_guide_names_every_parameter_and_attribute():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    model = gdregress.LinearRegression().fit([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0])
    attributes = [name for name in vars(model) if name.endswith("_") and name[0] != "_"]
    parameters = [*inspect.signature(gdregress.LogisticRegression).parameters]
    missing = {name for name in attributes + parameters if f"`{name}`" not in guide}
    # Written by scikit-learn's validation, and described there.
    assert missing <= {"n_features_in_", "feature_names_in_"}
