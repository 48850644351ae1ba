// Scores of many queries: tiles of 64 rows × 32 queries. The codes of a tile become int8 levels in shared memory once,
// 128 coordinates at a time, and are multiplied with all its queries by the matrix instruction; sums are exact integers.

// Decode a step of the codes from `row` on into tiles; lines past the last row are 0.
__device__ __forceinline__ void tq_load_rows(signed char* tile_high, signed char* tile_low, const tq_levels& table,
                                             const unsigned char* packed, long long row, long long rows, int start) {
    for (int i = threadIdx.x; i < TQ_TILE_ROWS * (TQ_STEP / 8); i += TQ_MMA_THREADS) {
        const int line = i / (TQ_STEP / 8), column = i % (TQ_STEP / 8) * 8;
        unsigned high[2] = {0u, 0u}, low[2] = {0u, 0u};
        if (row + line < rows && start + column < TQ_DIM) {
            tq_granule_levels(table, packed + (row + line) * TQ_ROW_BYTES + TQ_ROW_START, (start + column) / 8, high, low);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            ((unsigned*)(tile_high + line * TQ_LINE + column))[half] = high[half];
            if (TQ_TWO_BYTE_LEVELS) ((unsigned*)(tile_low + line * TQ_LINE + column))[half] = low[half];
        }
    }
}

// Give `take` every query, row and score, each by one thread.
template <class Take>
__device__ __forceinline__ void tq_score_many(unsigned char* memory, const unsigned char* packed, const float* scales,
                                              const short* levels, const signed char* high, const signed char* low,
                                              const float* worth, long long rows, long long queries, Take take) {
    signed char* const row_high = (signed char*)memory;
    signed char* const query_high = row_high + TQ_TILE_ROWS * TQ_LINE;
    signed char* const row_low = query_high + TQ_TILE_QUERIES * TQ_LINE;
    signed char* const query_low = row_low + (TQ_SKETCH ? 0 : TQ_TILE_ROWS * TQ_LINE);
    // The table of wide levels lies behind the four tiles, of which a sketch has three, narrow levels two, and no table.
    unsigned short* const wide = (unsigned short*)(query_low + TQ_TILE_QUERIES * TQ_LINE);
    const tq_levels table = tq_load_levels(levels, wide, TQ_MMA_THREADS);

    const int group = (threadIdx.x & 31) / 4, place = threadIdx.x % 4, first_line = threadIdx.x / 32 * 16;
    const long long across = (queries + TQ_TILE_QUERIES - 1) / TQ_TILE_QUERIES;
    const long long tiles = (rows + TQ_TILE_ROWS - 1) / TQ_TILE_ROWS * across;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const long long row = tile / across * TQ_TILE_ROWS, query = tile % across * TQ_TILE_QUERIES;
        int hh[4][4] = {}, cross[4][4] = {}, ll[4][4] = {};
        for (int start = 0; start < TQ_QUERY_BYTES; start += TQ_STEP) {
            const int columns = TQ_QUERY_BYTES - start < TQ_STEP ? TQ_QUERY_BYTES - start : TQ_STEP;
            tq_sync_block();
            tq_load_rows(row_high, row_low, table, packed, row, rows, start);
            tq_load_queries(query_high, high, query, queries, start, columns);
            if (TQ_WIDE) tq_load_queries(query_low, low, query, queries, start, columns);
            tq_sync_block();
            tq_multiply_tiles(row_high, row_low, query_high, query_low, columns, TQ_WIDE, TQ_SKETCH, hh, cross, ll);
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const long long r = row + first_line + group + k / 2 * 8, q = query + 8 * n + 2 * place + k % 2;
                if (r < rows && q < queries) {
                    const float scale = scales[r * TQ_NORMS + TQ_NORM];
                    take(q, r, tq_score(hh[n][k], cross[n][k], ll[n][k], worth[q], scale));
                }
            }
        }
    }
}
