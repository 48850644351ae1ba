// Codes to rotated rows, one warp a row: the radii as a prepared row, then pairs of every length, from the last level to the
// first, in place. No product is subnormal: a radius is 2^-40 or more, and the least sines of sixteen levels make 2^-30.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) polar_values(
    const unsigned char* __restrict__ packed, const int* __restrict__ shape, const float* __restrict__ tables, float* rows,
    int* __restrict__ powers, int dim, int levels, int half, int row_bytes, long long count) {
    const int radii = dim >> levels, begin = (half ? 2 : 4) * radii;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < count; row += stride) {
        const unsigned char* const from = packed + row * row_bytes;
        float* const r = rows + row * dim;
        const auto radius = [&](int j) { return tq_polar_radius(from, j, half); };
        const tq_power power = tq_power_of(tq_stream_top(radii, radius));
        for (int j = tq_lane(); j < radii; j += 32) r[j] = tq_take(power, radius(j));
        if (tq_lane() == 0) powers[row] = power.e;
        for (int l = levels - 1; l >= 0; l--) {
            const tq_polar_level level = tq_load_polar(shape, l);
            const int lengths = dim >> (l + 1);
            tq_sync_warp();
            for (int start = (lengths - 1) / 32 * 32; start >= 0; start -= 32) {
                const int j = start + tq_lane();
                const bool holds = j < lengths;
                const float length = holds ? r[j] : 0.0f;
                tq_sync_warp();
                if (!holds) continue;
                const unsigned code = tq_polar_field(from + begin, level.start + j * level.bits, level.bits);
                if (l == 0 && level.bits == 1) {
                    r[2 * j] = 0.0f;
                    r[2 * j + 1] = code ? -length : length;
                    continue;
                }
                const float* const point = tables + level.table + 2 * (code & ((1u << level.inner) - 1u));
                const float u = length * point[0], v = length * point[1];
                const unsigned quadrant = l ? 0u : code >> level.inner;
                const float a = quadrant & 1u ? v : u, b = quadrant & 1u ? u : v;
                r[2 * j] = quadrant == 1u || quadrant == 2u ? -a : a;
                r[2 * j + 1] = quadrant >= 2u ? -b : b;
            }
        }
    }
}
