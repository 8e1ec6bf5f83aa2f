"""The verdict on the client under test."""
