"""ncnn: trunk and head in its own format, written from the bundle's ONNX files."""

import tempfile

import ncnn
import numpy as np

import files

BINARY = {"Add": 0, "Mul": 2, "Div": 3, "Pow": 6}


class Writer:
    """`.param` and `.bin` of a file: a layer a line with its numbered parameters, and weights one after another."""

    def __init__(self, path, outputs):
        self.weights, self.data, self.layers = files.Weights(path), [], []
        nodes = self.weights.nodes
        self.input = nodes[0].input[0]
        readers = {}
        for node in nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        fused = set()
        for node in nodes:
            if node.output[0] in fused:
                continue
            out, following = node.output[0], readers.get(node.output[0], [])
            relu = node.op_type in ("Conv", "Gemm") and [f.op_type for f in following] == ["Relu"]
            if relu:
                out = following[0].output[0]
                fused.add(out)
            self.layers.append(self.layer(node, out, relu))
        self.text, self.outputs = self.split(outputs)

    def layer(self, node, out, relu):
        """Kind, inputs, output and parameters of a node; its weights go to the other file."""
        a, x, kind = files.attributes(node), node.input[0], node.op_type
        if kind in ("Conv", "Gemm"):
            biased, w = len(node.input) > 2, self.weights[node.input[1]]
            # In front of a weight stands how it is stored; 0 is f32. A bias has nothing in front.
            self.data += [np.zeros(1, np.uint32).tobytes(), w.astype("<f4").tobytes()]
            self.data += [self.weights[node.input[2]].astype("<f4").tobytes()] if biased else []
            if kind == "Gemm":
                return "InnerProduct", [x], out, f"0={w.shape[0]} 1={int(biased)} 2={w.size} 9={int(relu)}"
            window = f"1={w.shape[2]} 3={a['strides'][0]} 4={a['pads'][0]}"
            return "Convolution", [x], out, f"0={w.shape[0]} {window} 5={int(biased)} 6={w.size} 9={int(relu)}"
        if kind in ("MaxPool", "AveragePool"):
            # Padding mode 0 rounds up, 1 does not; an average counts the border.
            how = "0=0 5=0" if kind == "MaxPool" else "0=1 5=1 6=1"
            return "Pooling", [x], out, f"{how} 1={a['kernel_shape'][0]} 2={a['strides'][0]} 3={a['pads'][0]}"
        if kind == "Softmax":
            return "Softmax", [x], out, "0=1 1=1"
        if node.input[1] in self.weights:
            number = float(self.weights[node.input[1]].reshape(-1)[0])
            return "BinaryOp", [x], out, f"0={BINARY[kind]} 1=1 2={number:.9g}"
        return "BinaryOp", list(node.input), out, f"0={BINARY[kind]}"

    def split(self, outputs):
        """The text, and the names that the outputs have there. A value of ncnn has one reader; others come from a Split."""
        reads = {}
        for name in [n for _, inputs, _, _ in self.layers for n in inputs] + outputs:
            reads[name] = reads.get(name, 0) + 1
        lines, taken = [], {}

        def define(name):
            if reads.get(name, 1) > 1:
                lines.append(f"Split split_{name} 1 {reads[name]} {name} {' '.join(f'{name}_{i}' for i in range(reads[name]))}")

        def take(name):
            if reads[name] == 1:
                return name
            taken[name] = taken.get(name, -1) + 1
            return f"{name}_{taken[name]}"

        lines.append(f"Input {self.input} 0 1 {self.input}")
        define(self.input)
        for kind, inputs, out, parameters in self.layers:
            lines.append(f"{kind} {out} {len(inputs)} 1 {' '.join(map(take, inputs))} {out} {parameters}")
            define(out)
        names = {name: take(name) for name in outputs}
        # Each value once: 0, 1 or more outputs of each layer.
        blobs = sum(int(line.split()[3]) for line in lines)
        return f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n", names


def prepare(part):
    writer = Writer(part.onnx(), files.OUTPUTS[part.part])
    net = ncnn.Net()
    net.opt.num_threads = part.threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = part.precision == "bf16"
    with tempfile.TemporaryDirectory() as folder:
        for suffix, content in (("param", writer.text.encode()), ("bin", b"".join(writer.data))):
            with open(f"{folder}/net.{suffix}", "wb") as f:
                f.write(content)
        net.load_param(f"{folder}/net.param")
        net.load_model(f"{folder}/net.bin")
    image = ncnn.Mat(part.input[0] if part.input.ndim == 4 else part.input)

    def run():
        extractor = net.create_extractor()
        extractor.input(writer.input, image)
        return {name: np.array(extractor.extract(inside)[1]) for name, inside in writer.outputs.items()}

    return run, ncnn.__version__
