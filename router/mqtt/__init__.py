"""The parts of the sink `mqtt`: what is published where, and the connection to the broker."""
