"""Infinigen (Princeton, BSD-3-Clause) as a source of furniture: its environment, its processes, and what comes out.

`inside/` runs in Infinigen's own Python and never in the project's; it is started as a program.
"""
