"""Damage made on purpose, the same for the same seed."""
