"""How long things take here: `make bench`, or `python -m benchmarks worker` for one of them."""
