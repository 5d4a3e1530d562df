"""What a fit did, what its coefficients are worth, and pictures of both.

Tables print themselves, in notebooks too. The displays have scikit-learn's form:
``from_estimator`` computes, ``plot`` draws, and the display keeps ``ax_`` and ``figure_``.
matplotlib and pandas are imported when they are needed, not before.
"""

from ._coefficient_path import CoefficientPathDisplay
from ._coefficient_table import CoefficientTable
from ._coefficients import coefficient_table
from ._conditioning import Conditioning, Dependence, conditioning
from ._curves import LossCurve
from ._descent_path import DescentPath, DescentPathDisplay
from ._functional import Objective, objective
from ._gap import GapBound, optimality_gap
from ._learning_rate import LearningRateDisplay, RateTrial
from ._loss_curve import LossCurveDisplay
from ._loss_surface import LossSurfaceDisplay
from ._prediction import PredictionInterval, prediction_interval
from ._problem import Refusal
from ._rates import LearningRateBounds, RateBounds, learning_rate_bounds
from ._regression import RegressionDisplay
from ._separation import Separation, separation
from ._summary import Summary, summary

__all__ = [
    "CoefficientPathDisplay",
    "CoefficientTable",
    "Conditioning",
    "Dependence",
    "DescentPath",
    "DescentPathDisplay",
    "GapBound",
    "LearningRateBounds",
    "LearningRateDisplay",
    "LossCurve",
    "LossCurveDisplay",
    "LossSurfaceDisplay",
    "Objective",
    "PredictionInterval",
    "RateBounds",
    "RateTrial",
    "Refusal",
    "RegressionDisplay",
    "Separation",
    "Summary",
    "coefficient_table",
    "conditioning",
    "learning_rate_bounds",
    "objective",
    "optimality_gap",
    "prediction_interval",
    "separation",
    "summary",
]
