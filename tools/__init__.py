"""What builds, shows and checks GAN3D; no part of what is installed."""
