// Candidates with upper ends as keys (rank_stage.cu) among codes of a fitted codec, cut to their scores where these are lower:
// one warp each, a granule of eight columns a lane, `spread` blocks a query. Rows of one part become rows of the whole index
// as in rank_cut.cu.

__device__ __forceinline__ int tq_warp_sum(int value) {
#pragma unroll
    for (int half = 16; half; half /= 2) value += (int)tq_from_lane_xor((unsigned)value, half);
    return value;
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) refine_fitted(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const int* __restrict__ places,
    const int* __restrict__ groups, const unsigned* __restrict__ levels, const signed char* __restrict__ high,
    const signed char* __restrict__ low, const float* __restrict__ worth, const float* __restrict__ base,
    const float* __restrict__ query_squares, const float* __restrict__ row_squares, const unsigned* __restrict__ ties,
    const unsigned* __restrict__ floors, unsigned long long* __restrict__ candidates, const unsigned* __restrict__ counts,
    int row_bytes, long long first, long long pitch, long long spread, long long queries) {
    TQ_SHARED_MEMORY(memory);
    const unsigned* const table = tq_load_group_levels(levels, (unsigned*)memory, 32 * TQ_WARPS);
    tq_sync_block();
    for (long long item = blockIdx.x; item < queries * spread; item += gridDim.x) {
        const long long query = item / spread, count = counts[query];
        for (long long i = item % spread * TQ_WARPS + tq_warp(); i < count; i += spread * TQ_WARPS) {
            unsigned long long* const place = candidates + query * pitch + i;
            const unsigned long long found = *place;
            const long long row = (unsigned)found >> 1;
            const unsigned char* const codes = packed + row * row_bytes;
            float total = 0.0f;
            int start = 0;
            for (int g = 0; g < TQ_GROUPS; g++) {
                const tq_group group = tq_load_group(groups, g);
                const bool wide = group.wide;
                int hh = 0, cross = 0, ll = 0;
                for (int granule = start + tq_lane(); granule < group.end; granule += 32) {
                    unsigned level_high[2], level_low[2];
                    tq_group_levels(group, table, codes, places, granule, level_high, level_low);
                    const long long at = query * TQ_QUERY_BYTES + 8 * granule;
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const int query_high = ((const int*)(high + at))[half];
                        hh = tq_dp4a(query_high, level_high[half], hh);
                        if (wide) {
                            const int query_low = ((const int*)(low + at))[half];
                            cross = tq_dp4a(query_high, level_low[half], cross);
                            cross = tq_dp4a(query_low, level_high[half], cross);
                            ll = tq_dp4a(query_low, level_low[half], ll);
                        }
                    }
                }
                start = group.end;
                hh = tq_warp_sum(hh);
                if (wide) cross = tq_warp_sum(cross), ll = tq_warp_sum(ll);
                const float unit = worth[query * TQ_GROUPS + g];
                const float term = tq_group_term(hh, cross, ll, wide, unit, scales + row * TQ_SCALES, g);
                total = g ? tq_sum(total, term) : term;
            }
            if (tq_lane() == 0) {
                const float score = tq_group_score(total, scales[row * TQ_SCALES], base, query);
                const float key = tq_key(score, query_squares, row_squares, query, row);
                const unsigned tie = ties ? ties[row] : (unsigned)(first + row);
                *place = tq_cut_to_score(found, key, tie, floors[query]);
            }
        }
    }
}
