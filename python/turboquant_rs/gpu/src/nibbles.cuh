// Codes as nibbles, and what they look up.

// Spread eight fields of `width` bits to the low ends of eight nibbles.
__device__ __forceinline__ unsigned tq_to_nibbles(unsigned word, int width) {
    if (width == 1) {
        word = (word | word << 12) & 0x000f000fu;
        word = (word | word << 6) & 0x03030303u;
        return (word | word << 3) & 0x11111111u;
    }
    if (width == 2) {
        word = (word | word << 8) & 0x00ff00ffu;
        word = (word | word << 4) & 0x0f0f0f0fu;
        return (word | word << 2) & 0x33333333u;
    }
    return word;
}

// Bytes of `second` where the four lowest nibbles of `choice` are odd, else of `first`.
__device__ __forceinline__ unsigned tq_of_two(unsigned first, unsigned second, unsigned choice) {
    const unsigned mask = tq_choose_bytes(0x0000ff00u, 0u, choice & 0x1111u);
    return (first & ~mask) | (second & mask);
}

// Of sixteen bytes those that the four lowest nibbles of `codes` choose.
__device__ __forceinline__ unsigned tq_of_sixteen(const unsigned (&words)[4], unsigned codes) {
    const unsigned lower = tq_choose_bytes(words[0], words[1], codes & 0x7777u);
    const unsigned upper = tq_choose_bytes(words[2], words[3], codes & 0x7777u);
    return tq_of_two(lower, upper, codes >> 3);
}
