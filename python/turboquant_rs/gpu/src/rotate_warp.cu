// Prepare and rotate rows, one warp a row and rotation: reads a row and writes `size` floats of it, its norm and its power of
// two. A row with NaN or inf is reported, has norm 0, and what is written of it is undefined. TQ_GIVEN: rows are
// rotated as they are, without norms. TQ_CUT: PolarQuant's, whose coordinates below 2^-40 are 0.

#define TQ_RUN_WORDS (32 * TQ_SIGN_GROUPS)

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, TQ_RESIDENT) rotate_warp(
    const float* __restrict__ x, const unsigned* __restrict__ signs, const unsigned short* __restrict__ places,
    float factor, float* __restrict__ out, float* __restrict__ norms, int* __restrict__ exponents,
    unsigned long long* faults, int size, int refuse, long long first, long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const buffer = (float*)memory + tq_warp() * TQ_WARP_FLOATS;
    const int runs = (size + TQ_DIM - 1) / TQ_DIM;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long item = (long long)blockIdx.x * TQ_WARPS + tq_warp(); item < rows * runs; item += stride) {
        const long long row = item / runs;
        const int run = (int)(item % runs), start = run * TQ_DIM;
        tq_row v;
        if (TQ_GIVEN) {
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = tq_holds(j) ? x[row * TQ_DIM + 32 * j + tq_lane()] : 0.0f;
        } else {
            int e;
            float norm;
            const bool whole = tq_warp_prepare(v, x + row * TQ_DIM, faults, first + row, e, norm);
            if (run == 0 && tq_lane() == 0) tq_keep_norm(norms, exponents, faults, row, first + row, norm, e, refuse);
            if (!whole) continue;
        }
        tq_warp_rotate(v, buffer, signs + run * TQ_RUN_SIGNS, places ? places + run * TQ_RUN_PLACES : nullptr, factor);
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            const int i = 32 * j + tq_lane();
            if (tq_holds(j) && i < size - start) out[row * size + start + i] = tq_kept(v[j] * TQ_LAST_FACTOR);
        }
    }
}
