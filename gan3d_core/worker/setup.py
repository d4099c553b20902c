"""Making the worker's environment."""
