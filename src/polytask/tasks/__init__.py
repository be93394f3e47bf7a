"""What a model is trained for. ``__all__`` lists the builders that a configuration names by ``kind = "..."``."""

from polytask.tasks.base import Task as Task
from polytask.tasks.base import TaskStack as TaskStack
from polytask.tasks.base import predict as predict
from polytask.tasks.base import row_losses as row_losses
from polytask.tasks.base import stack as stack
from polytask.tasks.binary import Binary as Binary
from polytask.tasks.binary import binary
from polytask.tasks.count import Count as Count
from polytask.tasks.count import count
from polytask.tasks.multiclass import Multiclass as Multiclass
from polytask.tasks.multiclass import multiclass
from polytask.tasks.ordinal import Ordinal as Ordinal
from polytask.tasks.ordinal import ordinal
from polytask.tasks.regression import Regression as Regression
from polytask.tasks.regression import regression

__all__ = ["binary", "multiclass", "ordinal", "regression", "count"]
