# Sourced: points the build at the libtorch inside the PyTorch package of $EDGE_RCNN_PYTHON.
LIBTORCH_USE_PYTORCH=1
PATH=$(dirname "$EDGE_RCNN_PYTHON"):$PATH
LD_LIBRARY_PATH=$("$EDGE_RCNN_PYTHON" - <<'EOF'
import glob, os, sysconfig
site = sysconfig.get_paths()["purelib"]
print(":".join([os.path.join(site, "torch", "lib")] + sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib")))))
EOF
)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LIBTORCH_USE_PYTORCH PATH LD_LIBRARY_PATH
