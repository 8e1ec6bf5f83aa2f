"""Costs: prices, the report, and budgets that hold."""
