"""The laboratory: datasets, discriminators, objectives, training and evaluation. Headless; nothing imports it."""
