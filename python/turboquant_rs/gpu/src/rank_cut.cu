// Candidates cut at what their first stage allows (docs/numerics.md section 12): one warp each, `spread` blocks a query.
//
// Of TQ_STAGE_BYTES bytes of a row's code it sums two entries of the query's tables each; without a stage keys stay. Rows
// of one part become rows of the whole index: `ties`, or numbers from `first` on. What no longer may enter becomes no row.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) rank_cut(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const unsigned* __restrict__ bounds,
    const unsigned char* __restrict__ tables, const float* __restrict__ factors, const float* __restrict__ deviations,
    const float* __restrict__ base, const float* __restrict__ query_squares, const float* __restrict__ row_squares,
    const unsigned* __restrict__ ties, const unsigned* __restrict__ floors, unsigned long long* __restrict__ candidates,
    const unsigned* __restrict__ counts, int row_bytes, long long first, long long pitch, long long spread,
    long long queries) {
    for (long long item = blockIdx.x; item < queries * spread; item += gridDim.x) {
        const long long query = item / spread;
        const unsigned char* const entries = tables + query * TQ_STAGE_BYTES * 32;
        const long long count = counts[query];
        for (long long i = item % spread * TQ_WARPS + tq_warp(); i < count; i += spread * TQ_WARPS) {
            unsigned long long* const place = candidates + query * pitch + i;
            const unsigned long long found = *place;
            const long long row = (unsigned)found >> 1;
            unsigned order = (unsigned)(found >> 32), negative_zero = (unsigned)found & 1u;
            if (TQ_STAGE_BYTES) {
                unsigned sum = 0;
                for (int byte = tq_lane(); byte < TQ_STAGE_BYTES; byte += 32) {
                    const unsigned pattern = packed[row * row_bytes + byte];
                    sum += entries[32 * byte + (pattern & 15u)] + entries[32 * byte + 16 + (pattern >> 4)];
                }
#pragma unroll
                for (int half = 16; half; half /= 2) sum += tq_from_lane_xor(sum, half);
                const float end = tq_upper_end(sum, bounds[row], factors[query], deviations[query], scales[row],
                                               base, query);
                const float key = tq_key(end, query_squares, row_squares, query, row);
                if (tq_order(key) > order) {
                    order = tq_order(key);
                    negative_zero = tq_is_negative_zero(key);
                }
            }
            // With a stage, all lanes have read the number by the time that one has their sum; without, only one goes on.
            if (tq_lane() == 0) {
                const unsigned tie = ties ? ties[row] : (unsigned)(first + row);
                *place = order > floors[query] ? TQ_NO_ROW : tq_candidate(order, tie, negative_zero);
            }
        }
    }
}
