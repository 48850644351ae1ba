// Products of rows in fixed point with the rows of a matrix: int16 values as two signed bytes, 256·high + low.
//
// Rows may be of one byte, `low` alone (TQ_ONE_BYTE_ROWS): signs.
//
// t = 65,536·hh + 256·cross + ll. |t| < 2^31 (docs/numerics.md section 11), so that wrapping arithmetic is exact: whatever
// wraps on the way is a multiple of 2^32.

__device__ __forceinline__ int tq_joined(int hh, int cross, int ll) {
    return (int)(((unsigned)hh << 16) + ((unsigned)cross << 8) + (unsigned)ll);
}

// Keep the product of a row and a matrix row; TQ_DECODED: as a coordinate of a decoded row.
__device__ __forceinline__ void tq_store_product(int t, long long row, int column, int* products, float* out,
                                                 const float* factors, const float* center) {
    const long long at = row * TQ_COLUMNS + column;
    if (TQ_DECODED) {
        // Nothing is subnormal: a factor is 0 or normal, and a center that is not 0 has steps of 2^-103.
        const float value = tq_to_float(t) * factors[row];
        out[at] = center ? value + center[column] : value;
    } else {
        products[at] = t;
    }
}
