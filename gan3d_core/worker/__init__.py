"""The worker: a process with torch in it, and what is needed to talk to it from a process without."""
