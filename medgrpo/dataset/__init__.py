"""Benchmarks, read from the hub, from the user's files or from the embedded samples.

Whoever enters this room has Arrow on the system's allocator, unless told otherwise: Arrow's own
keeps what it has freed (30-40 MB after a large file), and is no faster here. Arrow reads the switch
when it is imported.
"""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
