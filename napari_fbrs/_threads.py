"""Imported before torch: its worker threads sleep while they wait.

By default they spin, which on a busy machine makes two threads slower than one (several times, measured beside another
torch process). What the user has set is left alone; where torch is loaded already it is too late, and harmless.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
