"""Export a network to ONNX, with preprocessing in the graph and the record in the metadata."""
