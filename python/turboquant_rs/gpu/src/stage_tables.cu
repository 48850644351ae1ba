// Queries for the first stage (docs/numerics.md section 12), one block each: sixteen entries for every four bits of it, and
// what one unit of their sums and of a row's spread is worth; with metric l2 also squared norms.
//
// Reads what every bit is worth to a query, `columns` floats (a multiple of 8), and writes four times as many bytes. How far
// a row of spread 1 may be is the query's norm, or, of a fitted codec with so many TQ_STAGE_SEGMENTS, from their lengths.

extern "C" __global__ void __launch_bounds__(TQ_THREADS) stage_tables(
    const float* __restrict__ worths, const float* __restrict__ reaches, const float* __restrict__ norms,
    const int* __restrict__ exponents, const float* __restrict__ lengths, const float* __restrict__ residuals,
    unsigned char* __restrict__ tables, float* __restrict__ factors,
    float* __restrict__ deviations, float* __restrict__ squares, unsigned long long* faults, float unit,
    float rounding, float reach_factor, int cosine, int columns, long long queries) {
    TQ_SHARED_MEMORY(memory);
    unsigned* const shared = (unsigned*)memory;
    const int fours = columns / 4;
    for (long long query = blockIdx.x; query < queries; query += gridDim.x) {
        const float* const r = worths + query * columns;
        unsigned top = 0;
        for (int i = threadIdx.x; i < fours; i += TQ_THREADS) {
            float four[4];
            tq_load_four(four, r + 4 * i);
#pragma unroll
            for (int k = 0; k < 4; k++) four[k] = tq_float(tq_magnitude(tq_bits(four[k])));
            const unsigned sum = tq_bits((four[0] + four[1]) + (four[2] + four[3]));
            top = sum > top ? sum : top;
        }
        top = tq_warp_largest(top);
        tq_sync_block();
        if (tq_lane() == 0) shared[tq_warp()] = top;
        tq_sync_block();
        for (int warp = 0; warp < TQ_THREADS / 32; warp++) top = shared[warp] > top ? shared[warp] : top;
        const float largest = tq_float(top), inverse = tq_divide(63.0f, largest == 0.0f ? 1.0f : largest);
        for (int i = threadIdx.x; i < fours; i += TQ_THREADS) {
            float four[4];
            tq_load_four(four, r + 4 * i);
            unsigned words[4] = {0u, 0u, 0u, 0u};
#pragma unroll
            for (int pattern = 0; pattern < 16; pattern++) {
                float term[4];
#pragma unroll
                for (int k = 0; k < 4; k++) term[k] = pattern >> k & 1 ? four[k] : -four[k];
                const int entry = tq_round(((term[0] + term[1]) + (term[2] + term[3])) * inverse);
                const int held = entry > 63 ? 126 : entry < -63 ? 0 : entry + 63;
                words[pattern / 4] |= (unsigned)held << 8 * (pattern % 4);
            }
            tq_store_four(tables + (query * fours + i) * 16, words);
        }
        if (threadIdx.x == 0) {
            const float norm = norms[query];
            const int e = exponents[query];
            if (fours) {
                const float entry = tq_divide(largest, 63.0f);
                float reach = reaches[query];
                const float relative = tq_divide(entry, reach == 0.0f ? 1.0f : reach);
                float sum = rounding * (relative * relative);
                if (!TQ_STAGE_SEGMENTS) sum = 1.0f + sum;
                for (int s = 0; s < TQ_STAGE_SEGMENTS; s++) {
                    const float length = lengths[query * TQ_STAGE_SEGMENTS + s];
                    sum = sum + residuals[s] * (length * length);
                }
                reach = reach * tq_root(sum);
                const float factor = entry * unit, deviation = (reach_factor * reach) * unit;
                const float divisor = norm == 0.0f ? 1.0f : norm;
                factors[query] = cosine ? tq_divide(factor, divisor) : tq_times_power(factor, e);
                deviations[query] = cosine ? tq_divide(deviation, divisor) : tq_times_power(deviation, e);
            }
            if (squares) {
                if (tq_reaches(norm, e, 63)) tq_report(faults, TQ_FAULT_SQUARE, query, 0);
                squares[query] = tq_times_power(norm * norm, 2 * e);
            }
        }
    }
}
