"""OpenAI's wire and that of compatible servers."""
