"""`backsight …`: thin commands; what they do lives in the stages and in `runtime`."""
