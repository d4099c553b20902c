"""Pictures of shapes: contact sheets for people, and renders for metrics."""
