"""Pictures of what a fit did.

The displays have scikit-learn's form: ``from_estimator`` computes, ``plot`` draws, and the display
keeps ``ax_`` and ``figure_``. matplotlib is imported when something is drawn, not before.
"""

from ._coefficient_path import CoefficientPathDisplay
from ._curves import LossCurve
from ._descent_path import DescentPath, DescentPathDisplay
from ._learning_rate import LearningRateDisplay, RateTrial
from ._loss_curve import LossCurveDisplay
from ._loss_surface import LossSurfaceDisplay

__all__ = [
    "CoefficientPathDisplay",
    "DescentPath",
    "DescentPathDisplay",
    "LearningRateDisplay",
    "LossCurve",
    "LossCurveDisplay",
    "LossSurfaceDisplay",
    "RateTrial",
]
