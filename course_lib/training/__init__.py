"""One training loop for everything: ``fit`` with a ``Recipe``. A loss is an argument; a killed run continues."""

from course_lib.training.constraint import Constraint
from course_lib.training.distributed import process_group, require_agreement, wait_for_all, world
from course_lib.training.loop import epoch_batches, fit
from course_lib.training.loss import CrossEntropy, Loss, LossFunction, function_identity
from course_lib.training.optimizer import make_optimizer
from course_lib.training.recipe import PRECISIONS, Batch, History, Recipe, compute_in

__all__ = [
    "PRECISIONS",
    "Batch",
    "Constraint",
    "CrossEntropy",
    "History",
    "Loss",
    "LossFunction",
    "Recipe",
    "compute_in",
    "epoch_batches",
    "fit",
    "function_identity",
    "make_optimizer",
    "process_group",
    "require_agreement",
    "wait_for_all",
    "world",
]
