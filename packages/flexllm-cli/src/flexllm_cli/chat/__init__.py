"""The parts of `flexllm chat`."""
