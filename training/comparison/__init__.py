"""The parts of `python -m training.compare`: the plan, its runs, what is judged of each, and the report."""
