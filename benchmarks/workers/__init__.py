"""The contenders that are not commands: each a module that runs in a process of its own."""
