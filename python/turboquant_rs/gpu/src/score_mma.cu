// Scores of many queries: tiles of 64 rows × 32 queries. The codes of a tile become int8 levels in shared memory once,
// 128 coordinates at a time, and are multiplied with all its queries by the matrix instruction; sums are exact integers.

#define TQ_TILE_ROWS 64
#define TQ_TILE_QUERIES 32
#define TQ_STEP 128
// 16 bytes more than a step, so that the eight rows that a quarter of a warp reads lie in different banks.
#define TQ_LINE (TQ_STEP + 16)
#define TQ_MMA_THREADS 128

// A fragment's word of a tile in shared memory.
__device__ __forceinline__ unsigned tq_tile_word(const signed char* tile, int line, int column) {
    return *(const unsigned*)(tile + line * TQ_LINE + column);
}

// Copy a step of the queries from `query` on into a tile; lines past the last query are 0.
__device__ __forceinline__ void tq_load_queries(signed char* tile, const signed char* source, long long query,
                                                long long queries, int start, int columns) {
    for (int i = threadIdx.x; i < TQ_TILE_QUERIES * (TQ_STEP / 16); i += TQ_MMA_THREADS) {
        const int line = i / (TQ_STEP / 16), column = i % (TQ_STEP / 16) * 16;
        const bool present = column < columns && query + line < queries;
        const unsigned* const from = (const unsigned*)(source + (query + line) * TQ_QUERY_BYTES + start + column);
        unsigned* const to = (unsigned*)(tile + line * TQ_LINE + column);
#pragma unroll
        for (int k = 0; k < 4; k++) to[k] = present ? from[k] : 0u;
    }
}

// Decode a step of the codes from `row` on into tiles; lines past the last row are 0.
__device__ __forceinline__ void tq_load_rows(signed char* tile_high, signed char* tile_low, const tq_levels& table,
                                             const unsigned char* packed, long long row, long long rows, int start) {
    for (int i = threadIdx.x; i < TQ_TILE_ROWS * (TQ_STEP / 8); i += TQ_MMA_THREADS) {
        const int line = i / (TQ_STEP / 8), column = i % (TQ_STEP / 8) * 8;
        unsigned high[2] = {0u, 0u}, low[2] = {0u, 0u};
        if (row + line < rows && start + column < TQ_DIM) {
            tq_granule_levels(table, packed + (row + line) * tq_row_bytes(), (start + column) / 8, high, low);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            ((unsigned*)(tile_high + line * TQ_LINE + column))[half] = high[half];
            if (TQ_WIDE) ((unsigned*)(tile_low + line * TQ_LINE + column))[half] = low[half];
        }
    }
}

extern "C" __global__ void __launch_bounds__(TQ_MMA_THREADS, 4) score_mma(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const short* __restrict__ levels,
    const signed char* __restrict__ high, const signed char* __restrict__ low, const float* __restrict__ worth,
    float* __restrict__ out, long long rows, long long queries) {
    TQ_SHARED_MEMORY(memory);
    signed char* const row_high = (signed char*)memory;
    signed char* const query_high = row_high + TQ_TILE_ROWS * TQ_LINE;
    signed char* const row_low = query_high + TQ_TILE_QUERIES * TQ_LINE;
    signed char* const query_low = row_low + TQ_TILE_ROWS * TQ_LINE;
    // The table of wide levels lies behind the four tiles, which narrow levels have two of and no table.
    unsigned short* const wide = (unsigned short*)(query_low + TQ_TILE_QUERIES * TQ_LINE);
    const tq_levels table = tq_load_levels(levels, wide, TQ_MMA_THREADS);

    const int lane = threadIdx.x & 31, group = lane / 4, place = lane % 4, first_line = threadIdx.x / 32 * 16;
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
            for (int column = 0; column < columns; column += 32) {
                unsigned a[4], a_low[4];
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const int line = first_line + group + k % 2 * 8, at = column + 4 * place + k / 2 * 16;
                    a[k] = tq_tile_word(row_high, line, at);
                    if (TQ_WIDE) a_low[k] = tq_tile_word(row_low, line, at);
                }
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    unsigned b[2], b_low[2];
#pragma unroll
                    for (int k = 0; k < 2; k++) {
                        b[k] = tq_tile_word(query_high, 8 * n + group, column + 4 * place + 16 * k);
                        if (TQ_WIDE) b_low[k] = tq_tile_word(query_low, 8 * n + group, column + 4 * place + 16 * k);
                    }
                    tq_mma(hh[n], a, b);
                    if (TQ_WIDE) {
                        tq_mma(cross[n], a, b_low);
                        tq_mma(cross[n], a_low, b);
                        tq_mma(ll[n], a_low, b_low);
                    }
                }
            }
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const long long r = row + first_line + group + k / 2 * 8, q = query + 8 * n + 2 * place + k % 2;
                if (r < rows && q < queries) {
                    out[q * rows + r] = tq_score(hh[n][k], cross[n][k], ll[n][k], worth[q], scales[r]);
                }
            }
        }
    }
}
