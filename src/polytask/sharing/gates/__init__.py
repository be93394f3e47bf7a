"""Gates: how much each row takes from each expert. What `__all__` lists stands in ``[sharing.gate]`` by its ``use``."""

from polytask.sharing.gates.dselect_k import DSelectK
from polytask.sharing.gates.softmax import Softmax

Gate = Softmax | DSelectK  # the options of any gate

__all__ = ["Softmax", "DSelectK"]
