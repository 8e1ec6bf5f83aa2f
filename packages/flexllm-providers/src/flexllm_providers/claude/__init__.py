"""Claude: the wire of Anthropic's Messages API."""
