"""The language that every stage speaks: messages, documents, topics and their codec."""
