"""The demo: three weeks of images through the real service, on this machine alone."""
