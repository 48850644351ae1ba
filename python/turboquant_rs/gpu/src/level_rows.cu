// Codes to rows of levels in fixed point, and their norms, one warp a row: what a dense rotation takes back.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) level_rows(
    const unsigned char* __restrict__ packed, const float* __restrict__ levels, unsigned* __restrict__ high,
    unsigned* __restrict__ low, float* __restrict__ norms, int row_bytes, int plane, long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const level = (float*)memory;
    for (int i = threadIdx.x; i < 1 << TQ_KEEP; i += 32 * TQ_WARPS) level[i] = levels[i];
    tq_sync_block();
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const unsigned char* const codes = packed + row * row_bytes;
        const auto value = [&](int i) { return level[tq_unpack(codes, i)]; };
        const float norm = tq_root(tq_stream_sum(TQ_DIM, [&](int i) {
            const float c = value(i);
            return c * c;
        }));
        tq_store_fixed(high + row * (plane / 4), low + row * (plane / 4), plane, TQ_DIM, norm, value);
        if (tq_lane() == 0) norms[row] = norm;
    }
}
