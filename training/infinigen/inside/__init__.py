"""Programs and modules for Infinigen's own Python: they know nothing of GAN3D; those with Blender are only started."""
