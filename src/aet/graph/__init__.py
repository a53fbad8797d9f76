"""What is known beforehand: a graph of names and rules between them, as a bias of attention and between embeddings."""
