"""Common to tests and doctests: one thread a process, so that small models, and tests beside them, do not wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, and by every process that a test starts
