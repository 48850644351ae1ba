// Products of many rows: tiles of 64 rows × 64 matrix rows, 64 values at a time, by the matrix instruction on signed bytes;
// four of it for a product of two-byte values.
//
// A lane takes 16 bytes of a line at once. So the values of a step meet the instruction in another order, the same for both
// operands: sums are exact, and their order is free. Lines of 64 bytes need no padding: the eight lanes that are served
// together read two lines, which fill all banks.

#define TQ_TILE 64
#define TQ_STEP 64
#define TQ_MMA_THREADS 128

// Copy a step of a plane's lines into a tile; lines from `present` on are 0.
__device__ __forceinline__ void tq_load_plane(unsigned char* tile, const unsigned char* lines, int present) {
#pragma unroll
    for (int k = 0; k < TQ_TILE * TQ_STEP / 16 / TQ_MMA_THREADS; k++) {
        const int i = threadIdx.x + k * TQ_MMA_THREADS, line = i / (TQ_STEP / 16), at = i % (TQ_STEP / 16) * 16;
        unsigned words[4] = {0u, 0u, 0u, 0u};
        if (line < present) tq_load_four(words, lines + line * TQ_STRIDE + at);
        tq_store_four(tile + line * TQ_STEP + at, words);
    }
}

extern "C" __global__ void __launch_bounds__(TQ_MMA_THREADS, 3) dense_mma(
    const unsigned* __restrict__ high, const unsigned* __restrict__ low, const unsigned* __restrict__ matrix_high,
    const unsigned* __restrict__ matrix_low, int* __restrict__ products, float* __restrict__ out,
    const float* __restrict__ factors, const float* __restrict__ center, long long rows) {
    TQ_SHARED_MEMORY(memory);
    unsigned char* const row_high = memory;
    unsigned char* const row_low = row_high + TQ_TILE * TQ_STEP;
    unsigned char* const axis_high = row_low + TQ_TILE * TQ_STEP;
    unsigned char* const axis_low = axis_high + TQ_TILE * TQ_STEP;
    const int group = tq_lane() / 4, place = tq_lane() % 4;
    const int first_row = tq_warp() / 2 * 32, first_column = tq_warp() % 2 * 32;
    const int across = (TQ_COLUMNS + TQ_TILE - 1) / TQ_TILE;
    const long long tiles = (rows + TQ_TILE - 1) / TQ_TILE * across;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const long long row = tile / across * TQ_TILE;
        const int column = (int)(tile % across) * TQ_TILE;
        const int rows_present = rows - row < TQ_TILE ? (int)(rows - row) : TQ_TILE;
        const int columns_present = TQ_COLUMNS - column < TQ_TILE ? TQ_COLUMNS - column : TQ_TILE;
        const unsigned char* const row_lines[2] = {(const unsigned char*)high + row * TQ_STRIDE,
                                                   (const unsigned char*)low + row * TQ_STRIDE};
        const unsigned char* const axis_lines[2] = {(const unsigned char*)matrix_high + (long long)column * TQ_STRIDE,
                                                    (const unsigned char*)matrix_low + (long long)column * TQ_STRIDE};
        int hh[2][4][4] = {}, cross[2][4][4] = {}, ll[2][4][4] = {};
#pragma unroll 1
        for (int start = 0; start < TQ_STRIDE; start += TQ_STEP) {
            tq_sync_block();
            if (!TQ_ONE_BYTE_ROWS) tq_load_plane(row_high, row_lines[0] + start, rows_present);
            tq_load_plane(row_low, row_lines[1] + start, rows_present);
            tq_load_plane(axis_high, axis_lines[0] + start, columns_present);
            tq_load_plane(axis_low, axis_lines[1] + start, columns_present);
            tq_sync_block();
            unsigned a_high[2][2][4], a_low[2][2][4];
#pragma unroll
            for (int m = 0; m < 2; m++) {
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    const int at = (first_row + 16 * m + 8 * k + group) * TQ_STEP + 16 * place;
                    if (!TQ_ONE_BYTE_ROWS) tq_load_four(a_high[m][k], row_high + at);
                    tq_load_four(a_low[m][k], row_low + at);
                }
            }
#pragma unroll
            for (int n = 0; n < 4; n++) {
                unsigned b_high[4], b_low[4];
                const int at = (first_column + 8 * n + group) * TQ_STEP + 16 * place;
                tq_load_four(b_high, axis_high + at);
                tq_load_four(b_low, axis_low + at);
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const unsigned b[2] = {b_high[2 * half], b_high[2 * half + 1]};
                    const unsigned below[2] = {b_low[2 * half], b_low[2 * half + 1]};
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        const unsigned a[4] = {a_high[m][0][2 * half], a_high[m][1][2 * half], a_high[m][0][2 * half + 1],
                                               a_high[m][1][2 * half + 1]};
                        const unsigned under[4] = {a_low[m][0][2 * half], a_low[m][1][2 * half], a_low[m][0][2 * half + 1],
                                                   a_low[m][1][2 * half + 1]};
                        if (!TQ_ONE_BYTE_ROWS) {
                            tq_mma(hh[m][n], a, b);
                            tq_mma(cross[m][n], a, below);
                        }
                        tq_mma(cross[m][n], under, b);
                        tq_mma(ll[m][n], under, below);
                    }
                }
            }
        }
#pragma unroll
        for (int m = 0; m < 2; m++) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const int r = first_row + 16 * m + group + k / 2 * 8, c = first_column + 8 * n + 2 * place + k % 2;
                    if (r < rows_present && c < columns_present) {
                        const int t = tq_joined(hh[m][n][k], cross[m][n][k], ll[m][n][k]);
                        tq_store_product(t, row + r, column + c, products, out, factors, center);
                    }
                }
            }
        }
    }
}
