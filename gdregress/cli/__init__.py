"""The command line: the main job on a table of anybody's.

``main(argv)`` is the program. Its rooms import pandas and rich, which only the command line needs:
they are loaded by ``main``, not by this package.
"""

from .main import main

__all__ = ["main"]
