"""How an estimator shows itself in a notebook: scikit-learn's diagram, and how the fit ended."""

import html
import inspect
import os
from pathlib import Path

from sklearn.utils import estimator_html_repr

__all__ = ["ShowingMixin"]

# A template for the address of the documentation, with {module} and {name}; empty for no links.
_ADDRESS = "GDREGRESS_DOCS_URL"


class ShowingMixin:
    """The HTML representation, in the form that scikit-learn documents for other packages.

    Its "?" and the tooltips of its parameters lead to the documentation of the class. That is, by
    default, the file of the installed package whose docstring describes it: a browser opens it
    from a saved page, though not from a server. Who publishes the documentation somewhere sets the
    environment variable ``GDREGRESS_DOCS_URL`` to a template such as
    ``https://host/{module}.{name}.html``, or to nothing, for no links.
    """

    _doc_link_module = "gdregress"
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self):
        template = os.environ.get(_ADDRESS)
        if template is not None:
            kind = type(self)
            return {"address": template.format(module=kind.__module__, name=kind.__name__)}
        return {"address": Path(inspect.getfile(type(self))).resolve().as_uri()}

    def _html_repr(self):
        return estimator_html_repr(self) + _summary(self)


def _summary(model):
    """How the fit ended, and its record; nothing before there is one."""
    if not hasattr(model, "history_"):
        return ""
    rows = {
        "solver": model.solver_,
        "iterations": model.n_iter_,
        "stopped": str(model.stop_reason_),
        "converged": "yes" if model.converged_ else "no",
        "loss": f"{model.loss_:.6g}",
    }
    gap = getattr(model, "optimality_gap_", None)
    if gap is not None:
        rows["at most above the optimum"] = f"{gap:.3g}"
    body = "".join(
        f"<tr><th style='text-align:left'>{label}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for label, value in rows.items()
    )
    return (
        f"<table class='gdregress-fit'><tbody>{body}</tbody></table>"
        f"<details><summary>History</summary>{model.history_._repr_html_()}</details>"
    )
