"""Things to watch running: three demos and the synthetic yard that they look at."""
