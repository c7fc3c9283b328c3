"""Cameras to the topic ``frames``."""
