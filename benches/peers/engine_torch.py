"""PyTorch: the same layers as a module, compiled with its weights frozen, channels last."""

import torch
import torch._inductor.config
import torch.nn.functional as F

import files
import glue


class Network(torch.nn.Module):
    """The nodes of one of a bundle's files."""

    def __init__(self, path, outputs):
        super().__init__()
        weights = files.Weights(path)
        self.steps, self.outputs = [], outputs
        self.kept = torch.nn.ParameterList()
        for node in weights.nodes:
            tensors = []
            for name in node.input:
                if name in weights:
                    tensors.append(len(self.kept))
                    self.kept.append(torch.nn.Parameter(torch.from_numpy(weights[name].copy()), requires_grad=False))
                else:
                    tensors.append(name)
            self.steps.append((node.op_type, tensors, node.output[0], files.attributes(node)))
        self.input = next(name for name in weights.nodes[0].input if name not in weights)

    def forward(self, x):
        values = {self.input: x}
        for op, names, out, a in self.steps:
            get = [self.kept[n] if isinstance(n, int) else values[n] for n in names]
            values[out] = OPERATORS[op](a, *get)
        return [values[name] for name in self.outputs]


OPERATORS = {
    "Conv": lambda a, x, w, b: F.conv2d(x, w, b, a["strides"], a["pads"][:2], groups=a.get("group", 1)),
    "Relu": lambda a, x: F.relu(x),
    "MaxPool": lambda a, x: F.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2], ceil_mode=True),
    "AveragePool": lambda a, x: F.avg_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2]),
    "Gemm": lambda a, x, w, b=None: F.linear(x, w, b),
    "Softmax": lambda a, x: F.softmax(x.float(), a["axis"]),
    "Mul": lambda a, x, y: x * y,
    "Add": lambda a, x, y: x + y,
    "Div": lambda a, x, y: x / y,
    "Pow": lambda a, x, y: x ** y,
}


def runner(path, precision, names):
    network = Network(path, names).eval()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    network = network.to(dtype=dtype, memory_format=torch.channels_last)
    compiled = torch.compile(network, dynamic=False)

    def run(x):
        x = torch.as_tensor(x).to(dtype)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            return {name: t.float() for name, t in zip(names, compiled(x))}

    return run


def prepare(part):
    torch.set_num_threads(part.threads)
    torch._inductor.config.freezing = True
    if part.part == "frame":
        trunk, head = (runner(part.onnx(p), part.precision, files.OUTPUTS[p]) for p in ("trunk", "head"))
        return glue.frame(part, trunk, head), torch.__version__
    run = runner(part.onnx(), part.precision, files.OUTPUTS[part.part])
    return lambda: run(part.input), torch.__version__
