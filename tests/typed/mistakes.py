"""Mistakes that ``mypy --strict`` is to find: each line with an error says which."""

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Momentum

LinearRegression(C=1.0)  # call-arg
LinearRegression(solver="lbfgs")  # arg-type
LogisticRegression(criterion="speed")  # arg-type
LinearRegression(learning_rate="fast")  # arg-type
LinearRegression("gd")  # call-arg
Momentum(beta="0.9")  # arg-type
model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
model.loss_.upper()  # attr-defined
count: int = model.loss_  # assignment
LogisticRegression().partial_fit([[0.0]], [0], forget=0.5)  # call-arg
