"""From files of any kind to a dataset of signed-distance grids, samples and materials."""
