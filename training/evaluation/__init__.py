"""The parts of `python -m training.evaluate`: references, measurements, and the report on them."""
