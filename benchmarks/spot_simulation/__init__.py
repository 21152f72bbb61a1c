"""What Spot hosts save, simulated with the rules that keep jobs going on AWS (`modelyard.training.runtime`).

`python -m benchmarks.spot_simulation --help` has the options: another job, other hosts, a trace from a file.
"""

from benchmarks.spot_simulation.benchmark import measure

__all__ = ["measure"]
