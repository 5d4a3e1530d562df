"""The numerical tests with the BLAS kernels of other processors: run it as a script.

OpenBLAS rounds differently on every family of processors. ``OPENBLAS_CORETYPE`` makes a child
process use the kernels of another one, as far as this one can run them; without names the first
two that differ from its own.

    python tests/other_processors.py [NAME ...]
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# The tests whose outcome could hang on the last digits of a sum.
NUMERICAL = [
    "test_cholesky.py",
    "test_coefficient_table.py",
    "test_conditioning.py",
    "test_descent.py",
    "test_exact.py",
    "test_exact_streams.py",
    "test_extreme_units.py",
    "test_far_columns.py",
    "test_gap.py",
    "test_kernels.py",
    "test_learning_rate_bounds.py",
    "test_linear.py",
    "test_logistic.py",
    "test_many_columns.py",
    "test_minibatch.py",
    "test_newton.py",
    "test_nist.py",
    "test_objective.py",
    "test_objective_function.py",
    "test_optimality_gap.py",
    "test_partial_fit.py",
    "test_penalty_l1.py",
    "test_precision.py",
    "test_prediction_interval.py",
    "test_rates.py",
    "test_rules.py",
    "test_separation.py",
    "test_separation_report.py",
]
# Without fused products, with them, with 512 bits, with 256 bits and without them; and for Arm.
PROCESSORS = ["Nehalem", "Haswell", "SkylakeX", "Sandybridge", "neoversen1", "armv8"]
N_OTHERS = 2

# A name that is not known is ignored, and one that asks too much of the processor kills the child.
_PROBE = """
import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_info
A = np.random.default_rng(0).standard_normal((300, 200))
linalg.cholesky(A.T @ A)
linalg.qr(A.astype(np.float32))
print(*(lib["architecture"] for lib in threadpool_info() if lib["internal_api"] == "openblas"))
"""


def kernels(name=None):
    """The OpenBLAS kernels that run when `name` is asked for: a set, empty where none does."""
    child = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env=_environment(name),
        capture_output=True,
        text=True,
        check=False,
    )
    return set(child.stdout.split()) if child.returncode == 0 else set()


def _environment(name):
    inherited = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    return inherited | ({"OPENBLAS_CORETYPE": name} if name else {})


def main(arguments):
    own = kernels()
    print(f"::: this processor: {', '.join(sorted(own)) or 'no OpenBLAS'}", flush=True)
    left, failed = len(arguments) or N_OTHERS, []
    for name in arguments or PROCESSORS:
        if left == 0:
            break
        found = kernels(name)
        if {kernel.lower() for kernel in found} != {name.lower()}:
            instead = ", ".join(sorted(found)) or "nothing"
            print(f"::: {name}: skipped, {instead} runs in its place", flush=True)
            continue
        if found == own and not arguments:
            continue
        print(f"::: {name}", flush=True)
        left -= 1
        tests = [str(HERE / test) for test in NUMERICAL]
        command = [sys.executable, "-m", "pytest", "-q", *tests]
        if subprocess.run(command, env=_environment(name), cwd=HERE.parent, check=False).returncode:
            failed.append(name)
    if left:
        print(f"::: {left} fewer than asked for", flush=True)
    return f"the tests failed with the kernels of {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
