"""What must hold for the weights after every step: one interface, whose methods do nothing unless they are needed.

Some weights are not free: pruned ones must be 0, clipped ones must stay in a range. An optimiser knows nothing of it:
momentum and weight decay move a weight also where its gradient is 0. So the constraint comes after the step (projected
gradient descent), and ``fit`` asks it at the five places where it matters:

* before anything else looks at the network, where it may add buffers, and refuse what does not fit;
* before a step, where it may change itself: a function of the step's number alone, so that a run that was killed
  continues to the same weights;
* after a step;
* on averaged weights, before they are scored: the mean of points that each held another constraint may hold none;
* when an epoch has been scored, whether it may be chosen: a network that is pruned gradually is most accurate while it
  is still dense, and validation would choose just that.
"""

from __future__ import annotations

from torch import nn


class Constraint:
    """A condition on the weights that ``fit`` keeps; this one is none. Override what is needed."""

    def start(self, model: nn.Module, epochs: int, steps_per_epoch: int) -> None:
        """Called once, before the optimiser is made and a checkpoint read; the place to refuse what does not fit."""

    def before_step(self, model: nn.Module, step: int) -> None:
        """Called before each step; ``step`` counts from 0 over all epochs, those before a resume included."""

    def enforce(self, model: nn.Module) -> None:
        """Called after each step, and on averaged weights before they are scored: make the condition hold."""

    def may_be_chosen(self, step: int) -> bool:
        """Whether validation may choose the epoch that ends with step ``step``."""
        return True

    def identity(self) -> str:
        """What a resumed training's constraint must have in common with the interrupted one's; "" for none."""
        return ""
