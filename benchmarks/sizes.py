"""Sizes of the jobs that other libraries run, too; without imports, so that their scripts do not load détente."""

JOB_T = {"rate": 2e-4, "batch": 256, "latent": 64, "hidden": [128, 128]}
RING = {"rate": 1e-4, "batch": 512, "latent": 16, "hidden": [16, 16, 16, 16]}  # the preset `ring`, for consensus
