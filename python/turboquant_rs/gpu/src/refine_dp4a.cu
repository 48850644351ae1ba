// Candidates with upper ends as keys (rank_stage.cu), cut to their scores where these are lower: one warp each, `spread` blocks
// a query. Rows of one part become rows of the whole index as in rank_cut.cu.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) refine_dp4a(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const short* __restrict__ levels,
    const signed char* __restrict__ high, const signed char* __restrict__ low, const float* __restrict__ worth,
    const float* __restrict__ query_squares, const float* __restrict__ row_squares, const unsigned* __restrict__ ties,
    const unsigned* __restrict__ floors, unsigned long long* __restrict__ candidates, const unsigned* __restrict__ counts,
    long long first, long long pitch, long long spread, long long queries) {
    TQ_SHARED_MEMORY(memory);
    const tq_levels table = tq_load_levels(levels, (unsigned short*)memory, 32 * TQ_WARPS);
    for (long long item = blockIdx.x; item < queries * spread; item += gridDim.x) {
        const long long query = item / spread, count = counts[query];
        for (long long i = item % spread * TQ_WARPS + tq_warp(); i < count; i += spread * TQ_WARPS) {
            unsigned long long* const place = candidates + query * pitch + i;
            const unsigned long long found = *place;
            const long long row = (unsigned)found >> 1;
            const unsigned char* const codes = packed + row * TQ_ROW_BYTES + TQ_ROW_START;
            tq_score_row(table, codes, high, low, worth, scales[row], row, query, query + 1,
                         [&](long long, long long, float score) {
                             const float key = tq_key(score, query_squares, row_squares, query, row);
                             const unsigned tie = ties ? ties[row] : (unsigned)(first + row);
                             *place = tq_cut_to_score(found, key, tie, floors[query]);
                         });
        }
    }
}
