"""Examples of the documentation that need a package of somebody else: run where it is installed."""

import doctest
import re

import pytest
from test_docs import PAGES, clean_room, run

__all__ = ["clean_room"]

RECIPES = re.compile(r"^```python requires=(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = re.compile(r"^```python(?: requires=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipes():
    for page in PAGES:
        packages = {match.group(1) for match in BLOCKS.finditer(page.read_text(encoding="utf-8"))}
        for package in sorted(packages - {None}):
            yield pytest.param(page, package, id=f"{page.stem}-{package}")


@pytest.mark.parametrize(("page", "package"), list(recipes()))
@pytest.mark.filterwarnings("ignore")  # those of packages that are not ours
def test_a_recipe(page, package):
    """The plain examples of the page, and the recipe after them."""
    pytest.importorskip(package)
    text = page.read_text(encoding="utf-8")
    parser, examples = doctest.DocTestParser(), []
    for match in BLOCKS.finditer(text):
        if match.group(1) in {None, package}:
            offset = text.count("\n", 0, match.start(2))
            for example in parser.get_examples(match.group(2), page.name):
                example.lineno += offset
                examples.append(example)
    run(doctest.DocTest(examples, {"__name__": "__main__"}, page.name, str(page), 0, None))


def test_the_recipes_of_the_callbacks():
    assert {parameters.values[1] for parameters in recipes()} >= {"mlflow", "optuna"}
