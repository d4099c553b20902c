"""GAN3D's core: what a shape, a recipe and a checkpoint are, the generators, field → mesh, and the worker.

Importing this package, or anything the Blender add-on needs of it (`errors`, `shape`, `recipe`, `latent`,
`checkpoints`, `worker.protocol`, `worker.client`), costs the standard library and numpy only. torch and the
geometry libraries are imported inside the worker process, by `generators` and `surfacing`.
"""

__version__ = "0.1.0"
