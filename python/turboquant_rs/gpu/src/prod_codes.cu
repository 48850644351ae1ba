// Levels of rotated rows, and what they leave over (docs/numerics-papers.md section 5), one warp a row: `rows` hold R x′ and
// then u = y − c, `left` its norm. Bits − 1 units of a packed row and both scales are written.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) prod_codes(
    float* rows, const float* __restrict__ norms, const int* __restrict__ exponents, const float* __restrict__ tables,
    unsigned char* __restrict__ packed, float* __restrict__ scales, float* __restrict__ left, unsigned long long* faults,
    float root, int row_bytes, long long first, long long count) {
    TQ_SHARED_MEMORY(memory);
    float* const bounds = (float*)memory;
    const float* const level = bounds + (1 << TQ_BITS);
    for (int i = threadIdx.x; i < 2 << TQ_BITS; i += 32 * TQ_WARPS) bounds[i] = tables[i];
    tq_sync_block();
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < count; row += stride) {
        float* const values = rows + row * TQ_DIM;
        const float norm = norms[row], gain = tq_divide(root, norm == 0.0f ? 1.0f : norm);
        float even = 0.0f, odd = 0.0f;
        for (int start = 0; start < TQ_DIM; start += 1024) {
            unsigned planes[8][1] = {};
#pragma unroll 2
            for (int k = 0; k < 32; k++) {
                const int i = start + 32 * k + tq_lane();
                if (start + 32 * k >= TQ_DIM) break;
                const bool holds = i < TQ_DIM;
                const float y = holds ? values[i] * gain : 0.0f;
                const unsigned offset = tq_code_offset(bounds, y, [&](int bit, bool below) {
                    const unsigned word = tq_ballot(below && holds);
                    planes[bit][0] = tq_lane() == k ? word : planes[bit][0];
                });
                const float u = holds && norm != 0.0f ? y - tq_level(level, offset) : 0.0f;
                if (holds) values[i] = u;
                if (k & 1) odd = odd + u * u; else even = even + u * u;
            }
            tq_store_units<1>(packed + row * row_bytes, planes, start / 32);
        }
        const float length = tq_root(tq_warp_halve(even, odd)), unit = tq_divide(1.0f, root);
        if (tq_lane() == 0) {
            left[row] = length;
            scales[2 * row] = tq_times_power(unit * norm, exponents[row]);
            const float scale = tq_times_power(length * unit * norm, exponents[row]);
            scales[2 * row + 1] = scale;
            if (!tq_is_finite(scale)) tq_report(faults, TQ_FAULT_NORM, first + row, 0);
        }
    }
}
