"""Objectives: the losses of the two players as functions of the discriminator's scores."""
