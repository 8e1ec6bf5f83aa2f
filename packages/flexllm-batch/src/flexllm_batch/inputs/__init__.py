"""Rows in: files of every kind, and what a row asks."""
