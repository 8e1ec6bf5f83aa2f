"""Gemini's wire, Vertex AI's too."""
