"""Pictures of what a fit did.

The displays have scikit-learn's form: ``from_estimator`` computes, ``plot`` draws, and the display
keeps ``ax_`` and ``figure_``. matplotlib is imported when something is drawn, not before.
"""

from gdregress.inspection._loss_curve import LossCurve, LossCurveDisplay

__all__ = ["LossCurveDisplay", "LossCurve"]
