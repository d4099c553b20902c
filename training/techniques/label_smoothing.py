"""One-sided label smoothing: T. Salimans et al.: Improved Techniques for Training GANs, NIPS 2016, section 3.4."""

from __future__ import annotations

import dataclasses
import functools

from gan3d_core.errors import TrainingError

from ..objectives import Objective


def smoothed(objective: Objective, amount: float) -> Objective:
    """The objective whose critic is asked for 1 − amount on real samples, where it was for 1; 0.1 in the paper.

    Only on that side: a positive target for generated samples would add p_model to the numerator of the optimal
    critic, and draw it to where there is no data (ibid.).

    Raises:
        TrainingError: an objective whose critic has no target, or an amount that is none.
    """
    if not 0 <= amount < 1:
        raise TrainingError(f"label_smoothing is {amount}.", "Give 0 to below 1; 0.1 is usual.")
    if amount and not objective.has_target:
        raise TrainingError(
            "label_smoothing needs an objective whose critic has a target for real samples.",
            "Set it to 0, or use minimax, non-saturating or least-squares.",
        )
    if not amount:
        return objective
    return dataclasses.replace(objective, critic=functools.partial(objective.critic, target=1 - amount))
