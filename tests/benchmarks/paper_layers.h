// Layers of paper_native.cpp that are no 3x3 convolutions: norms, bilinear doubling, 1x1 convolutions to a few channels.
#pragma once

#include <cmath>

#include "paper_convolutions.h"

namespace {

// Where the pixels of a map lie.
struct Map {
    T *data;
    long pixel, line;
};
Map plain(T *x, int channels, int w) { return {x, channels, long(channels) * w}; }
Map inside(T *x, int channels, int w, int first = 0) {  // of one with a border
    const long line = long(channels) * (w + 2);
    return {x + line + channels + first, channels, line};
}

struct Parameter {
    T *value, *gradient;
    long size;
};

// Batch norm of N vectors of L channels, with LeakyReLU (LEAKY) or without.
template <int L, int N, bool LEAKY> struct Norm {
    static constexpr int C = N * L;
    using X = typename Lanes<L>::Vector;
    Parameter scale, shift;
    T mean[C], inverse[C], factor[C], term[C];
    double pixels;

    // Of two values a pixel, the sums over the map. In T along a row, then in double.
    template <class F> void sums(int h, int w, double *first, double *second, F values) {
        std::fill(first, first + C, 0.0), std::fill(second, second + C, 0.0);
        for (int y = 0; y < h; y++) {
            X a[N] = {}, b[N] = {};
            for (int x = 0; x < w; x++)
                for (int n = 0; n < N; n++) values(y, x, n, a[n], b[n]);
            for (int c = 0; c < C; c++) first[c] += a[c / L][c % L], second[c] += b[c / L][c % L];
        }
    }

    void forward(Map in, Map out, int h, int w) {
        double sum[C], squares[C];
        pixels = double(h) * w;
        // About the first pixel: the mean may be many standard deviations.
        X pivot[N];
        for (int n = 0; n < N; n++) pivot[n] = at<L>(in.data + n * L);
        sums(h, w, sum, squares, [&](int y, int x, int n, X &a, X &b) {
            const X value = at<L>(in.data + y * in.line + x * in.pixel + n * L) - pivot[n];
            a += value, b += value * value;
        });
        for (int c = 0; c < C; c++) {
            const double average = sum[c] / pixels;
            mean[c] = T(average + in.data[c]);
            inverse[c] = T(1 / std::sqrt(std::max(0.0, squares[c] / pixels - average * average) + EPSILON));
            factor[c] = scale.value[c] * inverse[c];
            term[c] = shift.value[c] - mean[c] * factor[c];
        }
        X a[N], b[N];
        for (int n = 0; n < N; n++) a[n] = at<L>(factor + n * L), b[n] = at<L>(term + n * L);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                for (int n = 0; n < N; n++) {
                    const X value = at<L>(in.data + y * in.line + x * in.pixel + n * L) * a[n] + b[n];
                    at<L>(out.data + y * out.line + x * out.pixel + n * L) = !LEAKY || value > 0 ? value : value * SLOPE;
                }
    }

    void backward(Map gradient, Map in, Map out, int h, int w) {
        double sum[C], along[C];
        X a[N], b[N], m[N];
        for (int n = 0; n < N; n++) a[n] = at<L>(factor + n * L), b[n] = at<L>(term + n * L), m[n] = at<L>(mean + n * L);
        const auto look = [&](int y, int x, int n, X &before, X &centred) {
            const X value = at<L>(in.data + y * in.line + x * in.pixel + n * L);
            const X g = at<L>(gradient.data + y * gradient.line + x * gradient.pixel + n * L);
            before = !LEAKY || value * a[n] + b[n] > 0 ? g : g * SLOPE;
            centred = value - m[n];
        };
        sums(h, w, sum, along, [&](int y, int x, int n, X &first, X &second) {
            X before, centred;
            look(y, x, n, before, centred);
            first += before, second += before * centred;
        });
        T constant[C], slope[C];
        for (int c = 0; c < C; c++) {
            shift.gradient[c] = T(sum[c]);
            scale.gradient[c] = T(along[c] * inverse[c]);
            constant[c] = T(factor[c] * sum[c] / pixels);
            slope[c] = T(double(factor[c]) * inverse[c] * inverse[c] * along[c] / pixels);
        }
        X k[N], s[N];
        for (int n = 0; n < N; n++) k[n] = at<L>(constant + n * L), s[n] = at<L>(slope + n * L);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                for (int n = 0; n < N; n++) {
                    X before, centred;
                    look(y, x, n, before, centred);
                    at<L>(out.data + y * out.line + x * out.pixel + n * L) = a[n] * before - k[n] - s[n] * centred;
                }
    }
};

template <bool LEAKY> using WideNorm = Norm<LANES, W / LANES, LEAKY>;
template <bool LEAKY> using SkipNorm = Norm<4, 1, LEAKY>;

// ---- bilinear doubling: (h, w, W) <-> (2h, 2w, W) ----

template <class F> inline void each_vector(int pixels, F f) {
    for (long i = 0; i < long(pixels) * W; i += LANES) f(i);
}

void doubled(const T *in, T *out, T *line, int h, int w) {
    const T near = T(0.75), far = T(0.25);
    for (int y = 0; y < 2 * h; y++) {
        const T *one = in + y / 2 * w * W, *other = in + std::clamp(y / 2 + (y % 2 ? 1 : -1), 0, h - 1) * w * W;
        each_vector(w, [&](long i) { at(line + i) = near * at(one + i) + far * at(other + i); });
        T *to = out + y * 2 * w * W;
        for (int x = 0; x < w; x++)
            for (int c = 0; c < W; c += LANES) {
                const V here = near * at(line + x * W + c);
                at(to + 2 * x * W + c) = here + far * at(line + std::max(x - 1, 0) * W + c);
                at(to + (2 * x + 1) * W + c) = here + far * at(line + std::min(x + 1, w - 1) * W + c);
            }
    }
}

void doubled_gradient(const T *gradient, T *out, T *line, int h, int w) {
    const T near = T(0.75), far = T(0.25);
    for (int y = 0; y < h; y++) {
        const T *rows[4];
        for (int i = 0; i < 4; i++) rows[i] = gradient + std::clamp(2 * y - 1 + i, 0, 2 * h - 1) * 2 * w * W;
        each_vector(2 * w, [&](long i) {
            at(line + i) = near * (at(rows[1] + i) + at(rows[2] + i)) + far * (at(rows[0] + i) + at(rows[3] + i));
        });
        for (int x = 0; x < w; x++)
            for (int c = 0; c < W; c += LANES) {
                const auto from = [&](int i) { return at(line + std::clamp(i, 0, 2 * w - 1) * W + c); };
                at(out + (y * w + x) * W + c) =
                    near * (from(2 * x) + from(2 * x + 1)) + far * (from(2 * x - 1) + from(2 * x + 2));
            }
    }
}

// ---- thin 1x1 convolutions: to the skip's four channels, and to the picture's up to four ----

// weights (CIN, 4); out: a vector of four a pixel.
template <int CIN> void thin(Map in, const T *weights, T *out, int h, int w) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x += 2) {  // sides are even
            const T *p = in.data + y * in.line + x * in.pixel, *q = p + in.pixel;
            Q one[2] = {}, other[2] = {};
            for (int c = 0; c < CIN; c += 2)
                for (int i = 0; i < 2; i++) {
                    const Q weight = at<4>(weights + (c + i) * 4);
                    one[i] += p[c + i] * weight, other[i] += q[c + i] * weight;
                }
            at<4>(out + (y * w + x) * 4) = one[0] + one[1];
            at<4>(out + (y * w + x + 1) * 4) = other[0] + other[1];
        }
}

// By the weights, (CIN, 4), and by the input (ADD: added to what is there), if wanted. gradient: four a pixel.
template <int CIN, bool ADD>
void thin_gradient(Map in, const T *weights, const T *gradient, T *dw, const Map *to, int h, int w) {
    constexpr int N = CIN / LANES;
    V sums[4][N] = {};
    T columns[4][CIN];
    for (int c = 0; c < CIN; c++)
        for (int o = 0; o < 4; o++) columns[o][c] = weights[c * 4 + o];
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const T *g = gradient + (y * w + x) * 4, *p = in.data + y * in.line + x * in.pixel;
            T *d = to ? to->data + y * to->line + x * to->pixel : nullptr;
            for (int n = 0; n < N; n++) {
                const V value = at(p + n * LANES);
                for (int o = 0; o < 4; o++) sums[o][n] += g[o] * value;
                if (!d) continue;
                V back = ADD ? at(d + n * LANES) : V{};
                for (int o = 0; o < 4; o++) back += g[o] * at(columns[o] + n * LANES);
                at(d + n * LANES) = back;
            }
        }
    for (int c = 0; c < CIN; c++)
        for (int o = 0; o < 4; o++) dw[c * 4 + o] = sums[o][c / LANES][c % LANES];
}

}  // namespace
