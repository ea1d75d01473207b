"""Hydra's shells over autotune's scheduler and search."""
