"""Newton's method for the logistic losses, and whether there is an optimum to find."""
