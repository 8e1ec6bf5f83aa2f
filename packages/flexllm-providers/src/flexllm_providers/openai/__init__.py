"""The wire of OpenAI's chat completions, which most servers speak."""
