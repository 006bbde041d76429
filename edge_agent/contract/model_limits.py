"""Operators, element types and size limits of a model file that a device accepts, and the ONNX fields it may contain.

These are closed tables: anything that is not listed is refused. The field numbers are those of onnx.proto in ONNX 1.23.
"""

from __future__ import annotations

from typing import Final

OPERATORS: Final = frozenset((  # noqa: SIM905  # as a list, it would be seventy lines
    "Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv DequantizeLinear "
    "Div Dropout Elu Erf Exp Expand Flatten Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool "
    "GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu LogSoftmax "
    "MatMul Max MaxPool Mean Min Mish Mul Neg PRelu Pad Pow QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin "
    "ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus Sqrt Squeeze Sub Sum Tanh Tile Transpose "
    "Unsqueeze Where "
).split())
"""Allowed operators of the ONNX standard. None holds a subgraph, reads a file or draws random numbers."""

MAX_FILE_BYTES: Final = 512 << 20
"""Default limit of a model file, in bytes; `max_mb` in a device's configuration may set another one."""
MAX_OPSET: Final = 24
"""Newest operator set of the ONNX standard that is accepted."""
MAX_FIELDS: Final = 400_000
"""Protocol buffer fields in one file."""
MAX_NODES: Final = 10_000
MAX_TENSORS: Final = 20_000
MAX_TEXT_BYTES: Final = 1_024
"""Length of a name or another text, in bytes."""
MAX_LIST: Final = 16_384
"""Numbers in one attribute of a node."""
MAX_RANK: Final = 8
"""Dimensions of a tensor."""
MAX_SIDE: Final = 8_192
"""Channels, height or width of an input image."""
MAX_ELEMENTS: Final = 1 << 25
"""Elements of one input image, and number of classes."""

FLOAT: Final = 1
"""Element type of float32 in onnx.proto."""
ELEMENT_BYTES: Final = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Allowed element types -> size of an element in bytes."""
DATA_FIELDS: Final = {"float_data": {1}, "int32_data": {2, 3, 4, 5, 6, 9, 10, 16}, "int64_data": {7},
                      "double_data": {11}, "uint64_data": {12, 13}}
"""Fields for the elements of a tensor, apart from raw_data -> element types that may be stored there."""

# Field number -> kind and name. Kinds: v varint, w 4 bytes, d 8 bytes, t text, m message or bytes. An upper-case kind
# may be repeated (for numbers, packed too). Fields that are missing here are refused: functions, training information,
# metadata (ONNX Runtime reads session options from it), graphs in attributes, sparse tensors and external data.
MODEL: Final = {1: "v ir_version", 2: "t producer_name", 3: "t producer_version", 4: "t domain", 5: "v model_version",
                6: "t doc_string", 7: "m graph", 8: "M opset_import"}
OPSET: Final = {1: "t domain", 2: "v version"}
GRAPH: Final = {1: "M node", 2: "t name", 5: "M initializer", 10: "t doc_string", 11: "M input", 12: "M output",
                13: "M value_info"}
NODE: Final = {1: "T input", 2: "T output", 3: "t name", 4: "t op_type", 5: "M attribute", 6: "t doc_string",
               7: "t domain"}
ATTRIBUTE: Final = {1: "t name", 2: "w f", 3: "v i", 4: "t s", 5: "m t", 7: "W floats", 8: "V ints",
                    13: "t doc_string", 20: "v type"}
TENSOR: Final = {1: "V dims", 2: "v data_type", 4: "W float_data", 5: "V int32_data", 7: "V int64_data", 8: "t name",
                 9: "m raw_data", 10: "D double_data", 11: "V uint64_data", 12: "t doc_string", 14: "v data_location"}
VALUE: Final = {1: "t name", 2: "m type", 3: "t doc_string"}
TYPE: Final = {1: "m tensor_type", 6: "t denotation"}
TENSOR_TYPE: Final = {1: "v elem_type", 2: "m shape"}
SHAPE: Final = {1: "M dim"}
DIM: Final = {1: "v dim_value", 2: "t dim_param", 3: "t denotation"}
