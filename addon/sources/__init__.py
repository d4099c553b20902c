"""Blender's objects as training data: what `python -m training.prepare` reads, written from a .blend file.

`assets` says which objects make one shape, `geometry` and `materials` turn them into arrays, `folder` writes those.
Nothing here needs a window or changes what is open.
"""
