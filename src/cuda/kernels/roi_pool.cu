// RoI max pooling, exactly as src/head/roi_pool.rs defines it, which is Caffe's: the same bits.
// x[channels][rows][cols]; rois[count][4] hold x1, y1, x2, y2 in pixels of the network's input; y[count][channels][pool][pool].
// A thread makes one value. Products are rounded on their own (__fmul_rn), so that no sum is fused with them.

struct Span {
    int first, end;
};

// The cells of bin `index`, clipped to a side of `len` cells.
static __device__ Span span(int index, float bin, long long start, int len)
{
    const long long first = (long long)floorf(__fmul_rn((float)index, bin)) + start;
    const long long end = (long long)ceilf(__fmul_rn((float)(index + 1), bin)) + start;
    const long long most = len;
    return {(int)min(max(first, 0LL), most), (int)min(max(end, 0LL), most)};
}

// The cell of a corner; rounds half away from zero and saturates.
static __device__ long long cell(float corner, float scale)
{
    return __float2int_rz(roundf(__fmul_rn(corner, scale)));
}

extern "C" __global__ void roi_pool(const float *x, const float *rois, float *y, int count, int channels, int rows, int cols,
                                    int pool, float scale)
{
    const int per_roi = channels * pool * pool;
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (unsigned)per_roi)
        return;
    const int q = (int)i % pool, p = (int)i / pool % pool, c = (int)i / (pool * pool);
    const float *const map = x + (size_t)c * rows * cols;
    for (int roi = blockIdx.y; roi < count; roi += gridDim.y) {
        const float *const box = rois + (size_t)roi * 4;
        const long long left = cell(box[0], scale), top = cell(box[1], scale);
        const long long width = max(cell(box[2], scale) - left + 1, 1LL);
        const long long height = max(cell(box[3], scale) - top + 1, 1LL);
        const Span down = span(p, __fdiv_rn((float)height, (float)pool), top, rows);
        const Span along = span(q, __fdiv_rn((float)width, (float)pool), left, cols);
        const bool empty = down.first >= down.end || along.first >= along.end;
        float most = empty ? 0.0f : -3.402823466e+38f;
        for (int r = down.first; r < down.end; r++)
            for (int a = along.first; a < along.end; a++) {
                const float v = map[(size_t)r * cols + a];
                most = v > most ? v : most;
            }
        y[(size_t)roi * per_roi + i] = most;
    }
}
