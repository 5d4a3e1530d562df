"""Measurements against other libraries, run by hand: ``python -m benchmarks --help``.

Every time reported here belongs to a result that was first compared with a reference of higher
accuracy. See ``benchmarks/README.md`` for how to read the tables.
"""
