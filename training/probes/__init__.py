"""What a critic has learned of shapes without being told their category: its features, judged by a linear classifier.

J. Wu et al.: Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling, NIPS 2016,
section 4.2.
"""
