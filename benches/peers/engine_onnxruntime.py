"""onnxruntime, CPU provider."""

import onnxruntime as ort

import files
import glue


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Its threads spin while a run lasts, not into the next engine's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Without VNNI its 8-bit kernels add two products in 16 bits, where they saturate, unless told not to.
    options.add_session_config_entry("session.x64quantprecision", "1")
    for name, value in (("H", files.HEIGHT), ("W", files.WIDTH), ("N", files.ROIS)):
        options.add_free_dimension_override_by_name(name, value)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(path, threads, names):
    engine = session(path, threads)
    name = engine.get_inputs()[0].name
    return lambda x: dict(zip(names, engine.run(names, {name: x})))


def prepare(part):
    if part.part == "frame":
        trunk, head = (runner(part.onnx(p), part.threads, files.OUTPUTS[p]) for p in ("trunk", "head"))
        return glue.frame(part, trunk, head), ort.__version__
    run = runner(part.onnx(), part.threads, files.OUTPUTS[part.part])
    return lambda: run(part.input), ort.__version__
