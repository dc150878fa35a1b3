"""Network to ONNX, with preprocessing folded in and the record in the metadata."""
