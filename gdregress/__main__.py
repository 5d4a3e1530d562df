"""``python -m gdregress``: the command line."""

import sys

from gdregress.cli.main import run_program

if __name__ == "__main__":
    sys.exit(run_program())
