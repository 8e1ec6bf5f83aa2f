"""Before the money is spent: what is left to ask, what it may cost, and a canary."""
