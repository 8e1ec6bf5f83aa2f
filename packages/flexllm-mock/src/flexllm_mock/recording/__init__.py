"""Recording real answers and replaying them."""
