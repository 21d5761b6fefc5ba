// Convolutions of paper_native.cpp. All products are made by two kernels that hold a block of sums in registers: `block`
// (pixels x output channels, for convolutions and their gradients by the input) and `outer` (input x output channels, for
// the gradients by the weights).
#pragma once

#include <algorithm>
#include <cstring>

namespace {

using T = SCALAR;
constexpr int W = WIDTH;
constexpr int SCALES = 5, SKIP = 4, INPUTS = 32, JOINED = SKIP + W;
constexpr double EPSILON = 1e-5;
constexpr T SLOPE = T(0.2);

#if defined(__AVX512F__)
constexpr int BYTES = 64, SUMS = 24;  // of a vector, and how many of them a kernel holds
#elif defined(__AVX__)
constexpr int BYTES = 32, SUMS = 12;
#elif defined(__aarch64__)
constexpr int BYTES = 16, SUMS = 24;
#else
constexpr int BYTES = 16, SUMS = 12;
#endif
constexpr int LANES = std::min<int>(BYTES / sizeof(T), W);
constexpr int up_to_lanes(int n) { return (n + LANES - 1) / LANES * LANES; }
// What the nine taps of a 3x3 convolution make of the skip's channels, side by side.
constexpr int PRODUCTS = up_to_lanes(9 * SKIP);

// Of one pixel: vectors of the width, and of four channels. They may begin anywhere.
template <int L> struct Lanes {
    typedef T Vector __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T)), may_alias));
};
using V = Lanes<LANES>::Vector;
using Q = Lanes<4>::Vector;

template <int L = LANES> inline typename Lanes<L>::Vector &at(T *p) {
    return *reinterpret_cast<typename Lanes<L>::Vector *>(p);
}
template <int L = LANES> inline typename Lanes<L>::Vector at(const T *p) {
    return *reinterpret_cast<const typename Lanes<L>::Vector *>(p);
}

// ---- the two kernels ----

struct Tap {
    long offset;       // of the input
    const T *weights;  // (input channels, output channels)
};

constexpr int together(int vectors) { return vectors % 2 == 0 ? 2 : vectors % 3 == 0 ? 3 : 1; }

// P pixels of a convolution, all output channels. PIXEL: from one pixel of the input to the next; 0: as `pixel` says.
template <int CIN, int PIXEL, int COUT, int P>
void block(const T *in, long pixel, const Tap *taps, int count, T *out, long out_pixel) {
    constexpr int N = together(COUT / LANES);
    for (int first = 0; first < COUT; first += N * LANES) {
        V sums[P][N] = {};
        for (int t = 0; t < count; t++) {
            const T *x = in + taps[t].offset, *w = taps[t].weights + first;
            for (int c = 0; c < CIN; c++) {
                V weights[N];
                for (int n = 0; n < N; n++) weights[n] = at(w + c * COUT + n * LANES);
#pragma GCC unroll 24
                for (int p = 0; p < P; p++) {
                    const T value = x[p * (PIXEL ? PIXEL : pixel) + c];
                    for (int n = 0; n < N; n++) sums[p][n] += value * weights[n];
                }
            }
        }
#pragma GCC unroll 24
        for (int p = 0; p < P; p++)
            for (int n = 0; n < N; n++) at(out + p * out_pixel + first + n * LANES) = sums[p][n];
    }
}

template <int CIN, int PIXEL, int COUT, int P>
void block_of(int pixels, const T *in, long pixel, const Tap *taps, int count, T *out, long out_pixel) {
    if (pixels == P) return block<CIN, PIXEL, COUT, P>(in, pixel, taps, count, out, out_pixel);
    if constexpr (P > 1) block_of<CIN, PIXEL, COUT, P - 1>(pixels, in, pixel, taps, count, out, out_pixel);
}

// A row of a convolution, in blocks of like size.
template <int CIN, int PIXEL, int COUT>
void row(const T *in, long pixel, const Tap *taps, int count, T *out, long out_pixel, int pixels) {
    constexpr int MOST = std::min(12, SUMS / together(COUT / LANES));
    for (int blocks = (pixels + MOST - 1) / MOST; blocks; blocks--) {
        const int now = (pixels + blocks - 1) / blocks;
        block_of<CIN, PIXEL, COUT, MOST>(now, in, pixel, taps, count, out, out_pixel);
        in += now * pixel, out += now * out_pixel, pixels -= now;
    }
}

// dw (C, W) += the products of C channels of the input with the gradient, over a piece of the map.
template <int PIXEL, int C>
void outer(const T *in, long in_row, const T *gradient, long gradient_row, int rows, int columns, T *dw) {
    constexpr int N = together(W / LANES);
    for (int first = 0; first < W; first += N * LANES) {
        V sums[C][N] = {};
        for (int y = 0; y < rows; y++) {
            const T *x = in + y * in_row, *g = gradient + y * gradient_row + first;
            for (int p = 0; p < columns; p++, x += PIXEL, g += W) {
                V values[N];
                for (int n = 0; n < N; n++) values[n] = at(g + n * LANES);
#pragma GCC unroll 24
                for (int c = 0; c < C; c++)
                    for (int n = 0; n < N; n++) sums[c][n] += x[c] * values[n];
            }
        }
#pragma GCC unroll 24
        for (int c = 0; c < C; c++)
            for (int n = 0; n < N; n++) at(dw + c * W + first + n * LANES) += sums[c][n];
    }
}

template <int PIXEL, int C>
void outers(const T *in, long in_row, const T *gradient, long gradient_row, int rows, int columns, T *dw) {
    constexpr int MOST = SUMS / together(W / LANES), NOW = C >= 12 && MOST >= 12 ? 12 : C >= 8 && MOST >= 8 ? 8 : 4;
    outer<PIXEL, NOW>(in, in_row, gradient, gradient_row, rows, columns, dw);
    if constexpr (C > NOW) outers<PIXEL, C - NOW>(in + NOW, in_row, gradient, gradient_row, rows, columns, dw + NOW * W);
}

// ---- convolutions: h, w are the sides of what comes out forward ----

// k = 1 or 3. The input is one with a border where k = 3. STRIDE 1 or 2. after(y): called when row y is there.
template <int CIN, int STRIDE, class F>
void convolve(int k, const T *in, const T *weights, T *out, int h, int w, F after) {
    const long in_row = (STRIDE * w + (k == 3 ? 2 : 0)) * CIN;
    Tap taps[9];
    for (int i = 0; i < k * k; i++) taps[i] = {i / k * in_row + i % k * CIN, weights + i * CIN * W};
    for (int y = 0; y < h; y++) {
        row<CIN, STRIDE * CIN, W>(in + y * STRIDE * in_row, STRIDE * CIN, taps, k * k, out + y * w * W, W, w);
        after(y);
    }
}

// Rows of w pixels that stay in the nearest cache for the nine taps.
inline int band(int w) { return std::max(1, 64 / w); }

template <int CIN, int STRIDE>
void weights_gradient(int k, const T *in, const T *gradient, long gradient_row, T *dw, int h, int w) {
    const long in_row = (STRIDE * w + (k == 3 ? 2 : 0)) * CIN;
    std::fill(dw, dw + k * k * CIN * W, T(0));
    const int most = band(w);
    for (int y = 0; y < h; y += most)
        for (int i = 0; i < k * k; i++)
            outers<STRIDE * CIN, CIN>(in + (y * STRIDE + i / k) * in_row + i % k * CIN, STRIDE * in_row,
                                      gradient + y * gradient_row, gradient_row, std::min(most, h - y), w, dw + i * CIN * W);
}

// (taps, CIN, W) -> (taps, W, COUT), the last COUT of CIN.
template <int CIN, int COUT> void transpose(const T *weights, T *to, int taps) {
    for (int t = 0; t < taps; t++)
        for (int o = 0; o < W; o++)
            for (int c = 0; c < COUT; c++) to[(t * W + o) * COUT + c] = weights[(t * CIN + CIN - COUT + c) * W + o];
}

// By the input with its border, (h + 2, w + 2, W), of a 3x3 convolution: gradient (h + 2, w + 2, W) with zeros around.
void input_gradient(const T *gradient, const T *transposed, T *out, int h, int w) {
    const long line = (w + 2) * W;
    const auto offset = [&](int i) { return (1 - i / 3) * line + (1 - i % 3) * W; };
    const auto tap = [&](int i) { return Tap{offset(i), transposed + i * W * W}; };
    Tap all[9];
    for (int i = 0; i < 9; i++) all[i] = tap(i);
    for (int y = 1; y <= h; y++)
        row<W, W, W>(gradient + y * line + W, W, all, 9, out + y * line + W, W, w);
    // On the border the other taps meet zeros. A row's ends read past it: the zeros of the next row.
    const Tap left[3] = {tap(0), tap(3), tap(6)}, right[3] = {tap(2), tap(5), tap(8)};
    row<W, W, W>(gradient, W, all, 3, out, W, w + 2);
    row<W, W, W>(gradient + (h + 1) * line, W, all + 6, 3, out + (h + 1) * line, W, w + 2);
    row<W, 0, W>(gradient + line, line, left, 3, out + line, line, h);
    row<W, 0, W>(gradient + 2 * line - W, line, right, 3, out + 2 * line - W, line, h);
}

// The same for stride 2: out is (2h + 2, 2w + 2, W), whose last row and column no output has seen.
void input_gradient_of_halving(const T *gradient, const T *transposed, T *out, int h, int w) {
    const long line = (w + 2) * W, out_line = (2 * w + 2) * W;
    for (int phase = 0; phase < 4; phase++) {
        const int a = phase / 2, b = phase % 2;
        Tap taps[4];
        int count = 0;
        for (int ky = a; ky < 3; ky += 2)
            for (int kx = b; kx < 3; kx += 2)
                taps[count++] = {-(ky / 2) * line - kx / 2 * W, transposed + (ky * 3 + kx) * W * W};
        for (int m = 0; m < h + 1 - a; m++)
            row<W, W, W>(gradient + (m + 1) * line + W, W, taps, count, out + (2 * m + a) * out_line + b * W, 2 * W,
                         w + 1 - b);
    }
}

// The border's gradient goes to the pixels that it reflects. x: (h + 2, w + 2, C).
void fold(T *x, int channels, int h, int w) {
    const long line = (w + 2) * channels;
    for (int y = 0; y < h + 2; y++) {
        T *p = x + y * line;
        for (int c = 0; c < channels; c++) {
            p[2 * channels + c] += p[c];
            p[(w - 1) * channels + c] += p[(w + 1) * channels + c];
        }
    }
    for (long i = 0; i < line; i++) x[2 * line + i] += x[i];
    for (long i = 0; i < line; i++) x[(h - 1) * line + i] += x[(h + 1) * line + i];
}

void reflect(T *x, int channels, int h, int w) {
    const long line = (w + 2) * channels, bytes = channels * sizeof(T);
    for (int y = 1; y <= h; y++) {
        T *p = x + y * line;
        std::memcpy(p, p + 2 * channels, bytes);
        std::memcpy(p + (w + 1) * channels, p + (w - 1) * channels, bytes);
    }
    std::memcpy(x, x + 2 * line, line * sizeof(T));
    std::memcpy(x + (h + 1) * line, x + (h - 1) * line, line * sizeof(T));
}

}  // namespace
