// Softmax of each row in place: exponentials with the largest value subtracted first, divided by their sum. x[rows][columns];
// a warp, which is a block, makes one row.

extern "C" __global__ void softmax(float *x, int columns)
{
    const int lanes = 32;
    const unsigned all = 0xffffffffu;
    float *const row = x + (size_t)blockIdx.x * columns;
    float top = __int_as_float(0xff800000); // minus infinity
    for (int i = threadIdx.x; i < columns; i += lanes)
        top = fmaxf(top, row[i]);
    for (int step = lanes / 2; step > 0; step /= 2)
        top = fmaxf(top, __shfl_xor_sync(all, top, step));
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += lanes) {
        const float e = expf(row[i] - top);
        row[i] = e;
        sum += e;
    }
    for (int step = lanes / 2; step > 0; step /= 2)
        sum += __shfl_xor_sync(all, sum, step);
    for (int i = threadIdx.x; i < columns; i += lanes)
        row[i] /= sum;
}
