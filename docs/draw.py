"""Draw the pictures of the gallery: run the code of the page, its ``savefig`` lines included."""

import doctest
import os
import re
import warnings
from pathlib import Path

import matplotlib as mpl

HERE = Path(__file__).parent


def main():
    mpl.use("Agg")
    mpl.rcParams["savefig.dpi"] = 100
    (HERE / "images").mkdir(exist_ok=True)
    os.chdir(HERE)
    page = (HERE / "gallery.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for example in doctest.DocTestParser().get_examples(block):
            if ".animate(" in example.source:
                continue
            exec(compile(example.source, "gallery.md", "single"), names)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
