"""Trials of what a machine without Docker could not try otherwise, each in a clean Debian root filesystem."""
