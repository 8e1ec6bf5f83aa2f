"""The balance of an API key, where a vendor tells it."""
