"""The limits of an endpoint: those that the user sets, and those that are learnt from its answers."""
