"""Instance normalisation spelt out, so that its result depends neither on the provider nor on the number of threads.

OpenVINO's own kernel adds up the millions of voxels of a channel one by one in float32, as many at a time as there are
threads. On a 256 x 256 x 256 head the brain mask then differs from torch in 41,000 voxels with one thread and in 18,500
with two. Means that are taken axis after axis add at most a few hundred numbers at a time: 5 voxels differ, and the
result is the same to the last bit with one thread and with two.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Constants = Mapping[str, npt.NDArray[np.float32]]


def spell_out_instance_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model`` (opset 17) in which every 3D InstanceNormalization is made of axis-wise means.

    Raises ValueError for one with a learnt scale or shift: those are multiplied in by no network that we ship.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    constants = _constants(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "InstanceNormalization":
            _require_plain(node, constants)
            nodes += _Normalisation(node, model.graph).nodes
        else:
            nodes.append(node)
    _replace_nodes(model.graph, nodes)
    onnx.checker.check_model(model)
    return model


class _Normalisation:
    """The nodes of (x - mean) / sqrt(variance + epsilon) over the three spatial axes."""

    def __init__(self, norm: onnx.NodeProto, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._prefix = norm.output[0]
        epsilon = self._constant("epsilon", next(a.f for a in norm.attribute if a.name == "epsilon"))
        # Exact in floating point. They stand between the means because OpenVINO merges means that follow each other.
        self._two, self._half = self._constant("two", 2.0), self._constant("half", 0.5)
        centred = self._add("Sub", [norm.input[0], self._mean(norm.input[0], "mean")], "centred")
        variance = self._mean(self._add("Mul", [centred, centred], "square"), "variance")
        deviation = self._add("Sqrt", [self._add("Add", [variance, epsilon], "stabilised")], "deviation")
        self.nodes.append(helper.make_node("Div", [centred, deviation], [norm.output[0]]))

    def _mean(self, values: str, name: str) -> str:
        along_z = self._add("ReduceMean", [values], f"{name}_z", axes=[4], keepdims=1)
        doubled = self._add("Mul", [along_z, self._two], f"{name}_z_doubled")
        along_y = self._add("ReduceMean", [doubled], f"{name}_y", axes=[3], keepdims=1)
        halved = self._add("Mul", [along_y, self._half], f"{name}_y_halved")
        return self._add("ReduceMean", [halved], name, axes=[2], keepdims=1)

    def _add(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = f"{self._prefix}/{name}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: float) -> str:
        full = f"{self._prefix}/{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.float32), full))
        return full


def _constants(graph: onnx.GraphProto) -> Constants:
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _require_plain(norm: onnx.NodeProto, constants: Constants) -> None:
    scale, shift = (constants.get(name) for name in norm.input[1:3])
    if scale is None or shift is None or not (scale == 1).all() or not (shift == 0).all():
        raise ValueError(f"{norm.name} has a learnt scale or shift")


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    read = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    kept = [node for node in nodes if read.intersection(node.output)]
    initializers = [i for i in graph.initializer if i.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)
