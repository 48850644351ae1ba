// Decode a structured sketch, one warp a row: the sum over its rotations of the inverse rotation of ±1, from +0, times
// length · constant. The sum passes through `out`, where each lane has its own coordinates. TQ_GIVEN: rotate the rows of
// `out` back, in place, with subnormal numbers (TQ_EXACT), times 2^power with TQ_POWERS.

#define TQ_RUN_WORDS (32 * TQ_SIGN_GROUPS)

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, TQ_RESIDENT) unrotate_warp(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const unsigned* __restrict__ signs,
    const unsigned short* __restrict__ places, float factor, float* __restrict__ out,
    const int* __restrict__ powers, float constant, int size,
    int row_bytes, int start, int norms, long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const buffer = (float*)memory + tq_warp() * TQ_WARP_FLOATS;
    const int runs = (size + TQ_DIM - 1) / TQ_DIM;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        if (TQ_GIVEN) {
            float* const at = out + row * TQ_DIM + tq_lane();
            tq_row v;
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = tq_holds(j) ? at[32 * j] : 0.0f;
            tq_warp_rotate_back(v, buffer, signs, places, factor);
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                if (tq_holds(j)) at[32 * j] = TQ_POWERS ? tq_times_power_of_any(v[j], powers[row]) : v[j];
            }
            continue;
        }
        const unsigned char* const bits = packed + row * row_bytes + start;
        const float length = tq_product(scales[row * norms + norms - 1], constant);
        for (int run = 0; run < runs; run++) {
            tq_row v;
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                v[j] = tq_holds(j) ? tq_sketch_sign(bits, run * TQ_DIM + 32 * j + tq_lane(), size) : 0.0f;
            }
            tq_warp_rotate_back(v, buffer, signs + run * TQ_RUN_SIGNS, places ? places + run * TQ_RUN_PLACES : nullptr,
                                factor);
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                float* const sum = out + row * TQ_DIM + 32 * j + tq_lane();
                if (!tq_holds(j)) continue;
                const float total = (run ? *sum : 0.0f) + v[j] * TQ_LAST_FACTOR;
                *sum = run + 1 == runs ? tq_product(total, length) : total;
            }
        }
    }
}
