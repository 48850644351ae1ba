// Tiles of 64 rows × 32 queries in shared memory, 128 columns at a time, for the matrix instruction.

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

// Add the products of 64 rows and 32 queries in `columns` columns of the tiles; a warp has 16 rows. `wide`: of two
// bytes each; with `one_byte_rows` only the queries, whose products are then in hh and ll.
__device__ __forceinline__ void tq_multiply_tiles(const signed char* row_high, const signed char* row_low,
                                                  const signed char* query_high, const signed char* query_low, int columns,
                                                  bool wide, bool one_byte_rows, int (&hh)[4][4], int (&cross)[4][4],
                                                  int (&ll)[4][4]) {
    const int lane = threadIdx.x & 31, group = lane / 4, place = lane % 4, first_line = threadIdx.x / 32 * 16;
    for (int column = 0; column < columns; column += 32) {
        unsigned a[4], a_low[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int line = first_line + group + k % 2 * 8, at = column + 4 * place + k / 2 * 16;
            a[k] = tq_tile_word(row_high, line, at);
            if (wide && !one_byte_rows) a_low[k] = tq_tile_word(row_low, line, at);
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
            unsigned b[2], b_low[2];
#pragma unroll
            for (int k = 0; k < 2; k++) {
                b[k] = tq_tile_word(query_high, 8 * n + group, column + 4 * place + 16 * k);
                if (wide) b_low[k] = tq_tile_word(query_low, 8 * n + group, column + 4 * place + 16 * k);
            }
            tq_mma(hh[n], a, b);
            if (wide && one_byte_rows) {
                tq_mma(ll[n], a, b_low);
            } else if (wide) {
                tq_mma(cross[n], a, b_low);
                tq_mma(cross[n], a_low, b);
                tq_mma(ll[n], a_low, b_low);
            }
        }
    }
}
