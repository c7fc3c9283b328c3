"""Detections to alerts: a pure engine, and the Faust app that is a shell around it."""
