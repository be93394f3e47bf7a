"""Tables 1 and 2 of the MMoE paper: methods tuned alike on Census-Income, then trained from many initialisations."""

from polytask.reproduce.census.run import CensusReproduction, reproduce_census

__all__ = ["reproduce_census", "CensusReproduction"]
