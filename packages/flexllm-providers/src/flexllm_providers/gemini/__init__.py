"""Gemini: the wire of Google's generateContent, for the Developer API and for Vertex AI."""
