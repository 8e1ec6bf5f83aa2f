"""Claude's wire."""
