// Rows of floats with their norms in fixed point, one warp each, as they are: rotated rows, and what levels leave of them.
// A row is read once; 2·TQ_STRIDE bytes are written.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 12) sketch_fixed(
    const float* __restrict__ x, const float* __restrict__ norms, unsigned* __restrict__ high, unsigned* __restrict__ low,
    int dim, int plane, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const float* const from = x + row * dim;
        tq_store_fixed(high + row * (plane / 4), low + row * (plane / 4), plane, dim, norms[row],
                       [&](int i) { return from[i]; });
    }
}
