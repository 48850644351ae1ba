// Scores of many queries against codes of a fitted codec: as score_mma.cu, group after group, each rounded once.

// Decode columns of the codes from `row` on into tiles; lines past the last row are 0.
__device__ __forceinline__ void tq_load_group_rows(signed char* tile_high, signed char* tile_low, const tq_group& group,
                                                   const unsigned* levels, const unsigned char* packed, int row_bytes,
                                                   const int* places, int present, int start, int columns) {
    for (int i = threadIdx.x; i < TQ_TILE_ROWS * (TQ_STEP / 8); i += TQ_MMA_THREADS) {
        const int line = i / (TQ_STEP / 8), column = i % (TQ_STEP / 8) * 8;
        if (column >= columns) continue;
        unsigned high[2] = {0u, 0u}, low[2] = {0u, 0u};
        if (line < present) {
            tq_group_levels(group, levels, packed + line * row_bytes, places, (start + column) / 8, high, low);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            ((unsigned*)(tile_high + line * TQ_LINE + column))[half] = high[half];
            if (group.wide) ((unsigned*)(tile_low + line * TQ_LINE + column))[half] = low[half];
        }
    }
}

// Give `take` every query, row and score, each by one thread.
template <class Take>
__device__ __forceinline__ void tq_score_many_groups(
    unsigned char* memory, const unsigned char* packed, const float* scales, const int* places, const int* groups,
    const unsigned* levels, const signed char* high, const signed char* low, const float* worth, const float* base,
    int row_bytes, long long rows, long long queries, Take take) {
    signed char* const row_high = (signed char*)memory;
    signed char* const query_high = row_high + TQ_TILE_ROWS * TQ_LINE;
    signed char* const row_low = query_high + TQ_TILE_QUERIES * TQ_LINE;
    signed char* const query_low = row_low + TQ_TILE_ROWS * TQ_LINE;
    // The table lies behind the four tiles, of which narrow levels have two.
    signed char* const behind = TQ_WIDE ? query_low + TQ_TILE_QUERIES * TQ_LINE : row_low;
    const unsigned* const table = tq_load_group_levels(levels, (unsigned*)behind, TQ_MMA_THREADS);

    const int line = (threadIdx.x & 31) / 4, place = threadIdx.x % 4, first_line = threadIdx.x / 32 * 16;
    const long long across = (queries + TQ_TILE_QUERIES - 1) / TQ_TILE_QUERIES;
    const long long tiles = (rows + TQ_TILE_ROWS - 1) / TQ_TILE_ROWS * across;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const long long row = tile / across * TQ_TILE_ROWS, query = tile % across * TQ_TILE_QUERIES;
        const int present = rows - row < TQ_TILE_ROWS ? (int)(rows - row) : TQ_TILE_ROWS;
        float total[4][4] = {};
        int start = 0;
        for (int g = 0; g < TQ_GROUPS; g++) {
            const tq_group group = tq_load_group(groups, g);
            const bool wide = group.wide;
            int hh[4][4] = {}, cross[4][4] = {}, ll[4][4] = {};
            while (start < 8 * group.end) {
                const int columns = 8 * group.end - start < TQ_STEP ? 8 * group.end - start : TQ_STEP;
                tq_sync_block();
                tq_load_group_rows(row_high, row_low, group, table, packed + row * row_bytes, row_bytes, places, present,
                                   start, columns);
                tq_load_queries(query_high, high, query, queries, start, columns);
                if (wide) tq_load_queries(query_low, low, query, queries, start, columns);
                tq_sync_block();
                tq_multiply_tiles(row_high, row_low, query_high, query_low, columns, wide, false, hh, cross, ll);
                start += columns;
            }
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const long long r = row + first_line + line + k / 2 * 8, q = query + 8 * n + 2 * place + k % 2;
                    const float own = q < queries ? worth[q * TQ_GROUPS + g] : 0.0f;
                    const float* const row_scales = scales + (r < rows ? r : row) * TQ_SCALES;
                    const float term = tq_group_term(hh[n][k], cross[n][k], ll[n][k], wide, own, row_scales, g);
                    total[n][k] = g ? tq_sum(total[n][k], term) : term;
                }
            }
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const long long r = row + first_line + line + k / 2 * 8, q = query + 8 * n + 2 * place + k % 2;
                if (r < rows && q < queries) take(q, r, tq_group_score(total[n][k], scales[r * TQ_SCALES], base, q));
            }
        }
    }
}
