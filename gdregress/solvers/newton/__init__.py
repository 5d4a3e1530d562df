"""Newton's method for losses with a second derivative, and whether there is an optimum to find."""
