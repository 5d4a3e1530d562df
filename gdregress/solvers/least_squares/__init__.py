"""Least squares, exactly: normal equations, triangles, LSMR, and streams of rows."""
