// Adds a bias in place and, if asked, lets nothing below zero through.
// x is f32; a block works on one plane, or one row, at a time. NaN stays NaN.

static __device__ float rectified(float v, int relu)
{
    return relu && v < 0.0f ? 0.0f : v;
}

// A map, channel-major: x[planes][plane], one bias per plane.
extern "C" __global__ void bias_planes(float *x, const float *bias, int planes, int plane, int relu)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)plane)
        return;
    for (int c = blockIdx.y; c < planes; c += gridDim.y) {
        float *const at = x + (size_t)c * plane + i;
        *at = rectified(*at + bias[c], relu);
    }
}

// Outputs of a fully connected layer: x[rows][columns], one bias per column.
extern "C" __global__ void bias_rows(float *x, const float *bias, int rows, int columns, int relu)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)columns)
        return;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        float *const at = x + (size_t)row * columns + i;
        *at = rectified(*at + bias[i], relu);
    }
}
