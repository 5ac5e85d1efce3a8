// Max pooling of a channel-major map with Caffe's windows: they may overhang on all sides, and only what is inside of the
// map counts. x[channels][rows][cols] to y[channels][out_rows][out_cols]; exact. A thread makes one place of each channel
// of its block.

extern "C" __global__ void max_pool(const float *x, float *y, int channels, int rows, int cols, int out_rows, int out_cols,
                                    int kernel, int stride, int pad)
{
    const int plane = out_rows * out_cols;
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)plane)
        return;
    const int row = (int)i / out_cols, col = (int)i % out_cols;
    const int top = max(row * stride - pad, 0), bottom = min(row * stride + kernel - pad, rows);
    const int left = max(col * stride - pad, 0), right = min(col * stride + kernel - pad, cols);
    for (int c = blockIdx.y; c < channels; c += gridDim.y) {
        const float *const map = x + (size_t)c * rows * cols;
        float most = __int_as_float(0xff800000); // minus infinity
        for (int r = top; r < bottom; r++)
            for (int q = left; q < right; q++)
                most = fmaxf(most, map[(size_t)r * cols + q]);
        y[(size_t)c * plane + i] = most;
    }
}
