"""Every stage on one machine, each a process of its own: what `backsight up` and the demo run."""
