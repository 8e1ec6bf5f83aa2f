"""Several endpoints as one: which of them takes a call, and what happens when it fails there."""
