// Segments of a fitted codec and their units. Widths and lengths are read when a kernel runs, so that codecs share kernels.

// What a segment is, as the host's table has it (fitted.py): eight words.
struct tq_segment {
    int start, axes, power, rounds, bits, signs, source, table;
};

__device__ __forceinline__ tq_segment tq_load_segment(const int* shape, int s) {
    unsigned words[8];
    tq_load_four(words, shape + 8 * s);
    tq_load_four(words + 4, shape + 8 * s + 4);
    return {(int)words[0], (int)words[1], (int)words[2], (int)words[3],
            (int)words[4], (int)words[5], (int)words[6], (int)words[7]};
}

// The kept bits of the code of axis i of a segment, most significant first; `units` has the byte where each bit's unit is.
__device__ __forceinline__ int tq_unit_code(const unsigned char* packed, const int* units, int bits, int i) {
    int code = 0;
    for (int bit = 0; bit < bits; bit++) code = code << 1 | (packed[units[bit] + i / 8] >> (i & 7) & 1);
    return code;
}
