"""The moving average of a network's weights: often better, and never worse by a last unlucky step.

Each step moves it to the weights by the share 1 - decay; by more at first, or it would remember a network
that knows nothing for as long as it takes to forget. Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The average over the steps of a training; without a decay there is none, and the network stands for it.

    Args:
        network: whose weights are averaged; what it keeps beside them does not change while it trains.
        decay: 0: none; else the most that is kept of the average at each step.

    Attributes:
        network: what is evaluated and written.
    """

    def __init__(self, network: Any, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self.network = copy.deepcopy(network) if decay else network

    def update(self, network: Any) -> None:
        """After a step."""
        if not self._decay:
            return
        self._steps += 1
        move = get_ema_multi_avg_fn(min(self._decay, (1 + self._steps) / (10 + self._steps)))
        move([*self.network.parameters()], [*network.parameters()], 0)

    def state_dict(self) -> dict[str, Any] | None:
        """For a checkpoint."""
        if not self._decay:
            return None
        return {"steps": self._steps, "network": self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """What `state_dict` returned, with the same decay."""
        if state and self._decay:
            self._steps = state["steps"]
            self.network.load_state_dict(state["network"])
