"""What decides about training jobs: who gets hosts, what follows an attempt, what a request may say.

Pure: no clock, no chance and no AWS in here; the callers bring time, random draws and the store. The
functions of the training cluster and the simulation in `benchmarks/spot_simulation` use the same code, so
that its figures are those of this policy. This file imports nothing.
"""
