"""MultiMNIST and CelebA of Sener and Koltun (NeurIPS 2018): MGDA beside fixed and learnt weights."""

from polytask.reproduce.sener.run import SenerReproduction as SenerReproduction
from polytask.reproduce.sener.run import reproduce_sener as reproduce_sener
