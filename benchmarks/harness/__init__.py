"""The parts of the benchmark, one subject to a file; `run.py` puts them together."""
