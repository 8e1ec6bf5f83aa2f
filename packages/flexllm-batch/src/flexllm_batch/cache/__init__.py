"""The response cache: the same question to the same endpoint is paid once."""
