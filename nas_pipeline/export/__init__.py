"""From a network to the files that ship: ONNX, INT8, parity, bundles. onnx has its only door here."""
