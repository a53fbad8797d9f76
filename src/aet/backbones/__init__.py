"""Transformers that aet did not build."""
