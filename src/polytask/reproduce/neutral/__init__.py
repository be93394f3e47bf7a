"""Every balancer beside tuned static weights: the same network, steps, regularisation and learning rates for all."""

from polytask.reproduce.neutral.run import NeutralReproduction as NeutralReproduction
from polytask.reproduce.neutral.run import reproduce_neutral as reproduce_neutral
