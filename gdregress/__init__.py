"""Linear and logistic regression, exact and by gradient descent, right in any units.

The estimators follow the scikit-learn interface; see :class:`LinearRegression` and
:class:`LogisticRegression`.
"""

from .linear import LinearRegression
from .logistic import LogisticRegression

__all__ = ["LinearRegression", "LogisticRegression", "__version__"]

__version__ = "0.1.0"
