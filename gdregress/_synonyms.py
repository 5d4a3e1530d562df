"""What other libraries call things, and what they are called here: help in error messages."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec

__all__ = ["explaining_names", "hint_for_rate", "hint_for_solver"]

P = ParamSpec("P")

_ALPHA = "the strength of the penalty is 'alpha'"
_ITERATIONS = "iterations (epochs, with mini-batches) are limited by 'max_iter'"
_RATE = "the step size is 'learning_rate'"
_SCHEDULE = "how the rate falls is 'schedule'"
_MOMENTUM = "it belongs to a rule: solver=Momentum(beta=...) or Nesterov(beta=...)"
_START = "pass it to fit or partial_fit"
_ADAM = "it belongs to a rule: solver=Adam(beta1=..., beta2=...)"

_PARAMETERS = {
    "C": "C is 1 / (alpha * S), S the number of rows or the sum of their weights: set alpha",
    "penalty": "'alpha' is its strength and 'l1_ratio' its kind (0 is L2, 1 is L1)",
    **dict.fromkeys(
        ["reg", "reg_lambda", "lambda_", "lamda", "lambd", "l2", "weight_decay"], _ALPHA
    ),
    "l1": "the L1 penalty is l1_ratio=1 with alpha > 0",
    **dict.fromkeys(
        ["epochs", "n_epochs", "num_epochs", "max_epochs", "n_iter", "num_iter"], _ITERATIONS
    ),
    **dict.fromkeys(["n_iterations", "num_iterations", "iterations", "max_iters"], _ITERATIONS),
    **dict.fromkeys(["eta", "eta0", "lr", "step", "step_size", "learning_rate_init"], _RATE),
    **dict.fromkeys(["lr_schedule", "scheduler", "decay", "power_t"], _SCHEDULE),
    **dict.fromkeys(["optimizer", "optimiser", "method", "algorithm", "rule"], "it is 'solver'"),
    **dict.fromkeys(["momentum", "nesterovs_momentum", "nesterov", "beta"], _MOMENTUM),
    **dict.fromkeys(["beta1", "beta2", "beta_1", "beta_2"], _ADAM),
    "average": "it belongs to a rule, as in solver=GradientDescent(average=True)",
    **dict.fromkeys(["seed", "random_seed", "rng"], "it is 'random_state'"),
    "patience": "it is 'n_iter_no_change'",
    **dict.fromkeys(["validation_split", "test_size"], "it is 'validation_fraction'"),
    **dict.fromkeys(["eps", "epsilon", "tolerance"], "the tolerance is 'tol'"),
    "loss": "LinearRegression minimises squares, LogisticRegression the log loss",
    "multi_class": "several classes are always one softmax, two always one sigmoid",
    "n_jobs": "threads follow the limits of the BLAS (threadpoolctl, OMP_NUM_THREADS)",
    "copy_X": "X is neither copied nor written to",
    "normalize": "the exact solvers need no scaling; for descent use StandardScaler in a Pipeline",
    "shuffle": "mini-batches are always drawn in random order, which 'random_state' fixes",
    "verbose": "watch a fit with set_callbacks(sklearn.callback.ProgressBar())",
    "callbacks": "set them with set_callbacks(...)",
    "class_weight": "it belongs to LogisticRegression; weights of rows are an argument of fit",
    **dict.fromkeys(["coef_init", "intercept_init", "sample_weight", "X_val", "y_val"], _START),
}

_DESCENT_SOLVERS = {
    **dict.fromkeys(["sgd", "minibatch", "mini_batch"], "'gd' with a batch_size"),
    **dict.fromkeys(["bgd", "batch", "gradient_descent", "ista"], "'gd'"),
    **dict.fromkeys(["nag", "fista", "accelerated"], "'nesterov'"),
    **dict.fromkeys(["heavy_ball", "polyak"], "'momentum'"),
}
_LEAST_SQUARES = {
    **dict.fromkeys(["cholesky", "ols", "exact", "closed_form", "newton"], "'normal_equations'"),
    **dict.fromkeys(["svd", "qr", "lsqr", "sparse_cg", "cg"], "'lstsq'"),
    **dict.fromkeys(["lbfgs", "sag", "saga"], "'auto', or 'nesterov' with an L1 part"),
}
_CLASSIFICATION = {
    **dict.fromkeys(["lbfgs", "newton-cg", "newton-cholesky", "irls", "exact"], "'newton'"),
    **dict.fromkeys(["normal_equations", "lstsq"], "'newton'"),
    **dict.fromkeys(["liblinear", "sag", "saga"], "'newton', or 'nesterov' with an L1 part"),
}


def explaining_names(init: Callable[P, None]) -> Callable[P, None]:
    """A constructor that tells what a parameter it does not have is called here.

    Its signature is that of `init`, which is where scikit-learn reads the parameters' names.
    """
    accepted = list(inspect.signature(init).parameters)[1:]
    known = frozenset(accepted)

    @wraps(init)
    def __init__(*args: P.args, **params: P.kwargs) -> None:
        if len(args) == 1 and params.keys() <= known:
            init(*args, **params)
            return
        name = type(args[0]).__name__
        if len(args) > 1:
            raise TypeError(
                f"{name} takes its parameters by name, such as {name}(solver='gd'); got {args[1]!r}"
                f" without one."
            )
        for unknown in params.keys() - known:
            raise TypeError(
                f"{name} has no parameter {unknown!r} (got {params[unknown]!r})"
                f"{_advice(unknown, accepted)}"
            )

    return __init__


def _advice(unknown: str, accepted: Iterable[str]) -> str:
    if unknown in _PARAMETERS:
        return f": {_PARAMETERS[unknown]}."
    similar = get_close_matches(unknown, accepted, n=1)
    if similar:
        return f"; did you mean {similar[0]!r}?"
    return f"; it has {', '.join(map(repr, accepted))}."


def hint_for_solver(exact_solvers: Iterable[str], solver: object) -> str:
    """What a solver of another library is called here, as one more sentence, or nothing."""
    own = _CLASSIFICATION if "newton" in exact_solvers else _LEAST_SQUARES
    known = {**_DESCENT_SOLVERS, **own}
    word = solver.lower() if isinstance(solver, str) else ""
    return f" What you look for may be {known[word]}." if word in known else ""


def hint_for_rate(learning_rate: object) -> str:
    """scikit-learn's words for schedules, where a rate is expected."""
    if learning_rate in ("constant", "optimal", "invscaling", "adaptive"):
        return " How the rate changes with the iterations is 'schedule'."
    return ""
