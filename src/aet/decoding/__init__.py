"""Answers that are written step by step: decoder blocks with their cache, copying, and the search for the best."""
