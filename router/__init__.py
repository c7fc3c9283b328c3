"""`alerts` to whom they concern: one consumer group per sink, at least once, under one id."""
