"""The command line of flexllm."""
