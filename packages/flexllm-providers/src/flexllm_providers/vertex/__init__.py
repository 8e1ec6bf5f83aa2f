"""Vertex AI: its access tokens, and which of the wires a model there speaks."""
