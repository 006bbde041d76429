"""Export of networks to the files that ship: ONNX, INT8, parity, bundles. The only importer of onnx."""
