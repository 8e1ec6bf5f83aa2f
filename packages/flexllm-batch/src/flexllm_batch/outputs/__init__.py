"""Rows out: the journal, its lines and lock, compaction, and what is made of a finished output."""
