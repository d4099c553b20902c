"""One page that shows what is in a dataset, and what is wrong with it."""
