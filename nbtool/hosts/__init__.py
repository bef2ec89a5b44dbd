"""Hosts: what a kernel, a script or a service is, judged from facts alone.

Pure: nothing here looks at the machine. `nbtool.runtime.surroundings` gathers the `Facts`, or a
test reads them from a file; `judgement.environment_of` says what follows from them.
"""
