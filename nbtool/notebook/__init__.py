"""nbtool in a kernel: put together here, and undone here.

``import nbtool`` loads `nbtool.notebook.kernel` only when a kernel runs; so does
``%load_ext nbtool``. In a script it is never loaded, and nothing is patched or printed.
"""
