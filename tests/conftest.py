"""Settings shared by all tests."""

from hypothesis import settings

# The same examples in every run, and no deadline: the suite must not depend on the machine's speed.
settings.register_profile("gdregress", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("gdregress")
