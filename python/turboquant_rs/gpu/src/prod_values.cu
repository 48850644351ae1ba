// Decoded rows before the inverse rotation, one warp each, in place: the level of every coordinate times the row's first
// scale, plus what the sketch decodes to, which `out` holds.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) prod_values(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const float* __restrict__ levels,
    float* out, int row_bytes, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const unsigned char* const codes = packed + row * row_bytes;
        const float scale = scales[2 * row];
        for (int i = tq_lane(); i < TQ_DIM; i += 32) {
            float* const value = out + row * TQ_DIM + i;
            *value = tq_sum(tq_product(levels[tq_unpack(codes, i)], scale), *value);
        }
    }
}
