"""Contract checks for components, ours and other people's: each raises `AssertionError` with what is broken."""

from polytask.testing.balancers import check_balancer
from polytask.testing.sharing import check_sharing

__all__ = ["check_balancer", "check_sharing"]
