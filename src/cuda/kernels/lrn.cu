// Caffe's local response normalisation of a channel-major map, y = x / (k + strength · Σ x²)^beta, where strength is
// alpha divided by the number of values in a window. x[channels][rows][cols], y likewise; within 1e-5 relative of the definition.

// The sum over `size` neighbouring channels at one place.
extern "C" __global__ void lrn_across(const float *x, float *y, int channels, int plane, int size, float strength,
                                      float beta, float k)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)plane)
        return;
    const int half = (size - 1) / 2;
    for (int c = blockIdx.y; c < channels; c += gridDim.y) {
        const int first = max(c - half, 0), end = min(c - half + size, channels);
        float sum = 0.0f;
        for (int near = first; near < end; near++) {
            const float v = x[(size_t)near * plane + i];
            sum += v * v;
        }
        y[(size_t)c * plane + i] = x[(size_t)c * plane + i] / powf(k + strength * sum, beta);
    }
}

// The sum over a square of one channel, with zeros outside of the map.
extern "C" __global__ void lrn_within(const float *x, float *y, int channels, int rows, int cols, int size,
                                      float strength, float beta, float k)
{
    const int plane = rows * cols;
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)plane)
        return;
    const int row = (int)i / cols, col = (int)i % cols, half = (size - 1) / 2;
    const int top = max(row - half, 0), bottom = min(row - half + size, rows);
    const int left = max(col - half, 0), right = min(col - half + size, cols);
    for (int c = blockIdx.y; c < channels; c += gridDim.y) {
        const float *const map = x + (size_t)c * plane;
        float sum = 0.0f;
        for (int r = top; r < bottom; r++)
            for (int q = left; q < right; q++) {
                const float v = map[r * cols + q];
                sum += v * v;
            }
        y[(size_t)c * plane + i] = map[i] / powf(k + strength * sum, beta);
    }
}
