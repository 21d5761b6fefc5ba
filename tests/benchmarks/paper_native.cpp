// The steps of the paper's preset for one network on one thread of a processor: for paper_native.py, which compiles this.
//
// Compile with -DSCALAR=float or double and -DWIDTH=8, 16, 32, 64 or 128 (the network's width). The network is that of
// doprestore.image.unet, with reflection padding; the step is that of doprestore.image.paper.PaperRecovery.
//
// Maps have their channels side by side in memory, (H, W, C). The input of a 3x3 convolution has a border of one pixel,
// (H + 2, W + 2, C), which the norm before it fills; the gradient that goes back through one has a border of zeros.

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "paper_convolutions.h"
#include "paper_layers.h"

namespace {

// Memory in one piece, of zeros. Without a base it counts what will be needed.
struct Arena {
    char *base = nullptr;
    size_t used = 0;
    T *take(long count) {
        T *here = reinterpret_cast<T *>(base + used);
        used += (count * sizeof(T) + 63) / 64 * 64 + 17 * 64;  // like addresses modulo 4096 would wait for each other
        return here;
    }
};

struct Builder {
    Arena &arena;
    std::vector<Parameter> &all;
    Parameter parameter(long size) {
        all.push_back({arena.take(size), arena.take(size), size});
        return all.back();
    }
    template <class N> void norm(N &norm) { norm.scale = parameter(N::C), norm.shift = parameter(N::C); }
};

// One scale, of sides h and w. Names as in doprestore.image.unet.Scale.
struct Scale {
    int h, w, inputs;
    Scale *inner;
    Parameter skip, down0, down1, up0, up1;
    SkipNorm<true> skip_norm;
    WideNorm<true> down0_norm, down1_norm, up0_norm, up1_norm;
    SkipNorm<false> joined_skip;  // the norm of the joined parts: its first four channels, and the others
    WideNorm<false> joined_deep;
    Parameter joined_scale, joined_shift;
    T *x, *dx;                                          // the input, with a border
    T *skip_raw, *skipped, *dskip, *dskip_raw, *dthin;  // four channels; dskip with a border
    T *halved, *halved_on, *deepened, *deep, *dhalf, *dhalved;
    T *wide, *joined, *mixed, *mixed_on, *last, *out;
    T *dout, *one, *other, *padded, *djoined;
    T *line, *transposed, *products_weights;

    // In the order of the network's own parameters. deep: what the inner scale puts out, or the last halving.
    void build(Builder &b, Scale *scales, int depth, int height, int width) {
        h = height, w = width, inputs = depth ? W : INPUTS;
        inner = depth + 1 < SCALES ? scales + depth + 1 : nullptr;
        const long full = long(h) * w, half = full / 4;
        const long border = long(h + 2) * (w + 2), half_border = long(h / 2 + 2) * (w / 2 + 2);
        const auto take = [&](long n) { return b.arena.take(n); };
        x = take(border * inputs), dx = take(border * W);
        skip_raw = take(full * 4), skipped = take(full * 4), dskip = take(border * 4), dskip_raw = take(full * 4);
        dthin = take(full * 4);
        halved = take(half * W), halved_on = take(half_border * W), deepened = take(half * W);
        dhalf = take(half_border * W), dhalved = take(half_border * W);
        wide = take(full * W), joined = take(border * JOINED), mixed = take(full * W), mixed_on = take(full * W);
        last = take(full * W), out = take(full * W);
        dout = take(full * W), one = take(full * W), other = take(full * W);
        padded = take(border * W), djoined = take(border * W);
        line = take(std::max(w * W, w * PRODUCTS)), transposed = take(9 * W * W), products_weights = take(W * PRODUCTS);

        skip = b.parameter(inputs * SKIP), b.norm(skip_norm);
        down0 = b.parameter(9 * inputs * W), b.norm(down0_norm);
        down1 = b.parameter(9 * W * W), b.norm(down1_norm);
        if (inner) inner->build(b, scales, depth + 1, h / 2, w / 2);
        joined_scale = b.parameter(JOINED), joined_shift = b.parameter(JOINED);
        const auto part = [](Parameter p, long first) { return Parameter{p.value + first, p.gradient + first, 0}; };
        joined_skip.scale = part(joined_scale, 0), joined_skip.shift = part(joined_shift, 0);
        joined_deep.scale = part(joined_scale, SKIP), joined_deep.shift = part(joined_shift, SKIP);
        up0 = b.parameter(9 * JOINED * W), b.norm(up0_norm);
        up1 = b.parameter(W * W), b.norm(up1_norm);
        deep = inner ? inner->out : take(half * W);
    }

    template <int CIN> void forward() {
        const int hh = h / 2, hw = w / 2;
        const Map half = plain(halved, W, hw), half_on = inside(halved_on, W, hw), deepest = plain(deepened, W, hw);
        const Map before = plain(mixed, W, w), after = plain(mixed_on, W, w), end = plain(last, W, w);
        const Map doubles = plain(wide, W, w);
        thin<CIN>(inside(x, CIN, w), skip.value, skip_raw, h, w);
        skip_norm.forward(plain(skip_raw, 4, w), plain(skipped, 4, w), h, w);
        joined_skip.forward(plain(skipped, 4, w), inside(joined, JOINED, w), h, w);
        convolve<CIN, 2>(3, x, down0.value, halved, hh, hw, [&](int y) { down0_norm.see(half, y, hw); });
        down0_norm.settle();
        for (int y = 0; y < hh; y++) down0_norm.apply(half, half_on, y, hw);
        reflect(halved_on, W, hh, hw);
        convolve<W, 1>(3, halved_on, down1.value, deepened, hh, hw, [&](int y) { down1_norm.see(deepest, y, hw); });
        down1_norm.settle();
        const Map to = inner ? inside(inner->x, W, hw) : plain(deep, W, hw);
        for (int y = 0; y < hh; y++) down1_norm.apply(deepest, to, y, hw);
        if (inner) {
            reflect(inner->x, W, hh, hw);
            inner->forward<W>();
        }
        doubled(deep, wide, line, hh, hw, [&](int y) { joined_deep.see(doubles, y, w); });
        joined_deep.settle();
        for (int y = 0; y < h; y++) joined_deep.apply(doubles, inside(joined, JOINED, w, SKIP), y, w);
        reflect(joined, JOINED, h, w);
        convolve<JOINED, 1>(3, joined, up0.value, mixed, h, w, [&](int y) { up0_norm.see(before, y, w); });
        up0_norm.settle();
        for (int y = 0; y < h; y++) {
            up0_norm.apply(before, after, y, w);
            convolve<W, 1>(1, mixed_on + y * after.line, up1.value, last + y * end.line, 1, w,
                           [&](int) { up1_norm.see(end, y, w); });
        }
        up1_norm.settle();
        for (int y = 0; y < h; y++) up1_norm.apply(end, plain(out, W, w), y, w);
    }

    // What dout is to be shown to, row by row.
    void see_back(int y) { up1_norm.see_back(plain(dout, W, w), plain(last, W, w), y, w); }

    // dskip from `padded`: the products of all nine taps at once, each then added where its tap looks.
    void skip_gradient() {
        for (int o = 0; o < W; o++)
            for (int t = 0; t < 9; t++)
                for (int c = 0; c < SKIP; c++)
                    products_weights[o * PRODUCTS + t * SKIP + c] = up0.value[(t * JOINED + c) * W + o];
        std::fill(dskip, dskip + long(h + 2) * (w + 2) * 4, T(0));
        const Tap tap = {0, products_weights};
        for (int y = 0; y < h; y++) {
            row<W, W, PRODUCTS>(padded + ((y + 1) * (w + 2) + 1) * W, W, &tap, 1, line, PRODUCTS, w);
            for (int ky = 0; ky < 3; ky++)
                for (int x = 0; x < w; x++)
                    for (int kx = 0; kx < 3; kx++)
                        at<4>(dskip + ((y + ky) * (w + 2) + x + kx) * 4) += at<4>(line + x * PRODUCTS + (ky * 3 + kx) * 4);
        }
        fold(dskip, 4, h, w);
    }

    // From dout, which see_back has seen, to dx, which the outermost scale does not need.
    template <int CIN> void backward(bool outermost) {
        const int hh = h / 2, hw = w / 2;
        const long line_of_padded = long(w + 2) * W, half_line = long(hw + 2) * W;
        const Map before = plain(mixed, W, w), back = plain(other, W, w), end = plain(one, W, w);
        transpose<W, W>(up1.value, transposed, 1);
        std::fill(up1.gradient, up1.gradient + up1.size, T(0));
        up1_norm.settle_back();
        for (int y = 0, rows; y < h; y += rows) {
            rows = std::min(band(w), h - y);
            for (int i = y; i < y + rows; i++) up1_norm.apply_back(plain(dout, W, w), plain(last, W, w), end, i, w);
            outers<W, W>(mixed_on + y * back.line, back.line, one + y * end.line, end.line, rows, w, up1.gradient);
            convolve<W, 1>(1, one + y * end.line, transposed, other + y * back.line, rows, w, [&](int i) {
                up0_norm.see_back(back, before, y + i, w);
            });
        }
        up0_norm.settle_and_apply_back(back, before, inside(padded, W, w), h, w);
        weights_gradient<JOINED, 1>(3, joined, padded + line_of_padded + W, line_of_padded, up0.gradient, h, w);
        transpose<JOINED, W>(up0.value, transposed, 9);
        input_gradient(padded, transposed, djoined, h, w);
        fold(djoined, W, h, w);
        skip_gradient();
        joined_deep.backward(inside(djoined, W, w), plain(wide, W, w), plain(one, W, w), h, w);
        joined_skip.backward(inside(dskip, 4, w), plain(skipped, 4, w), plain(dskip_raw, 4, w), h, w);
        doubled_gradient(one, inner ? inner->dout : other, line, hh, hw, [&](int y) {
            if (inner) inner->see_back(y);
        });
        if (inner) inner->backward<W>(false);
        const Map ddeep = inner ? inside(inner->dx, W, hw) : plain(other, W, hw);
        down1_norm.backward(ddeep, plain(deepened, W, hw), inside(dhalf, W, hw), hh, hw);
        weights_gradient<W, 1>(3, halved_on, dhalf + half_line + W, half_line, down1.gradient, hh, hw);
        transpose<W, W>(down1.value, transposed, 9);
        input_gradient(dhalf, transposed, dhalved, hh, hw);
        fold(dhalved, W, hh, hw);
        down0_norm.backward(inside(dhalved, W, hw), plain(halved, W, hw), inside(dhalf, W, hw), hh, hw);
        weights_gradient<CIN, 2>(3, x, dhalf + half_line + W, half_line, down0.gradient, hh, hw);
        skip_norm.backward(plain(dskip_raw, 4, w), plain(skip_raw, 4, w), plain(dthin, 4, w), h, w);
        if constexpr (CIN == W)
            if (!outermost) {
                transpose<W, W>(down0.value, transposed, 9);
                input_gradient_of_halving(dhalf, transposed, dx, hh, hw);
                fold(dx, W, h, w);
            }
        const Map to = inside(dx, W, w);
        thin_gradient<CIN, true>(inside(x, CIN, w), skip.value, dthin, skip.gradient, outermost ? nullptr : &to, h, w);
    }
};

// ---- noise ----

uint64_t mixed_bits(uint64_t x) {  // splitmix64
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

inline uint32_t hashed(uint32_t x) {  // lowbias32 of C. Wellons
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

template <class To, class From> inline To bits(From x) {
    To to;
    static_assert(sizeof to == sizeof x);
    std::memcpy(&to, &x, sizeof to);
    return to;
}

// `count` (even) numbers of the standard normal distribution, by Box and Muller; which ones, seed and step say.
void normal(uint64_t seed, uint64_t step, float *out, long count) {
    const uint64_t key = mixed_bits(mixed_bits(seed + 0x9e3779b97f4a7c15u) + step);
    const uint32_t first = uint32_t(key), second = uint32_t(key >> 32);
    float *const other = out + count / 2;
    for (uint32_t i = 0; i < count / 2; i++) {
        const uint32_t a = hashed(hashed((2 * i) ^ first) + second), b = hashed(hashed((2 * i + 1) ^ first) + second);
        // The logarithm of a uniform number in (0, 1): that of its exponent and, by a polynomial, of its mantissa in
        // [sqrt(1/2), sqrt(2)). The coefficients are those of the Cephes library.
        const uint32_t u = bits<uint32_t>((float(int32_t(a >> 8)) + 0.5f) * 0x1p-24f);
        const uint32_t high = u - 0x3f3504f3u;
        const float exponent = float(int32_t(high) >> 23);
        const float m = bits<float>((high & 0x7fffffu) + 0x3f3504f3u) - 1.0f, square = m * m;
        float p = 7.0376836292e-2f;
        for (float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                        2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
            p = p * m + c;
        const float logarithm = exponent * 0.69314718056f + (m - 0.5f * square + m * square * p);
        const float radius = std::sqrt(std::max(0.0f, -2.0f * logarithm));
        // The angle: a quarter of the circle by two bits, and within it from -π/4 to π/4.
        const float t = float(int32_t(b & 0x3fffffffu) - (1 << 29)) * (0.78539816340f * 0x1p-29f), s = t * t;
        const float sine = t * (1.0f + s * (-1.6666654611e-1f + s * (8.3321608736e-3f - s * 1.9515295891e-4f)));
        const float rest = 4.1666645683e-2f + s * (-1.3887316255e-3f + s * 2.4433157118e-5f);
        const float cosine = 1.0f - 0.5f * s + s * s * rest;
        const uint32_t quarter = b >> 30, swap = 0u - (quarter & 1u);
        const uint32_t c = bits<uint32_t>(cosine), d = bits<uint32_t>(sine);
        out[i] = radius * bits<float>(((c & ~swap) | (d & swap)) ^ (((quarter + 1) >> 1) << 31));
        other[i] = radius * bits<float>(((d & ~swap) | (c & swap)) ^ ((quarter >> 1) << 31));
    }
}

}  // namespace

// ---- what paper_cpu.py calls ----

extern "C" {

// parameters: those of the network in its order, convolutions as (kh, kw, in, out). z: (height, width, 32). y and the rest:
// (channels, height, width), but for loss and least, which are one number each.
struct Run {
    T *parameters, *z, *y, *clean, *g, *h, *output, *best, *loss, *least;
    double tau, rate, noise;
    uint64_t seed, first_step;
    int32_t height, width, channels, is_l1, has_outliers, steps;
};

void standard_normal(uint64_t seed, uint64_t step, float *out, int64_t count) { normal(seed, step, out, count); }

// Makes run->steps steps, changing parameters, g, h, output, best, loss and least in place. Returns 0, or 1 without memory.
int make_steps(const Run *run) {
    const int h = run->height, w = run->width, channels = run->channels;
    const long pixels = long(h) * w, values = pixels * channels;
    Scale scales[SCALES];
    std::vector<Parameter> parameters;
    Parameter head, bias;
    T *theta4, *dhead4, *logits;
    float *fresh;
    Arena arena;
    for (int pass = 0; pass < 2; pass++) {
        if (pass) {
            void *memory = mmap(nullptr, arena.used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) return 1;
#ifdef MADV_HUGEPAGE
            madvise(memory, arena.used, MADV_HUGEPAGE);
#endif
            arena = {static_cast<char *>(memory), 0};
        }
        parameters.clear();
        Builder builder{arena, parameters};
        scales[0].build(builder, scales, 0, h, w);
        head = builder.parameter(W * channels), bias = builder.parameter(channels);
        theta4 = arena.take(W * 4), dhead4 = arena.take(W * 4), logits = arena.take(pixels * 4);
        fresh = reinterpret_cast<float *>(arena.take(pixels * INPUTS));
    }
    T *from = run->parameters;
    for (const Parameter &p : parameters) std::memcpy(p.value, from, p.size * sizeof(T)), from += p.size;
#ifdef __SSE2__
    const unsigned state = _mm_getcsr();
    _mm_setcsr(state | 0x8040);  // numbers below the normal range are zero: they would take a hundred times as long
#endif
    Scale &outer = scales[0];
    for (int step = 0; step < run->steps; step++) {
        const T noise = T(run->noise);
        if (run->noise != 0) normal(run->seed, run->first_step + step, fresh, pixels * INPUTS);
        for (int y = 0; y < h; y++) {
            T *to = outer.x + ((y + 1) * (w + 2) + 1) * INPUTS;
            const T *z = run->z + long(y) * w * INPUTS;
            const float *drawn = fresh + long(y) * w * INPUTS;
            for (long i = 0; i < w * INPUTS; i++) to[i] = z[i] + noise * T(drawn[i]);
        }
        reflect(outer.x, INPUTS, h, w);
        outer.forward<INPUTS>();
        for (int c = 0; c < W; c++)
            for (int o = 0; o < 4; o++) theta4[c * 4 + o] = o < channels ? head.value[c * channels + o] : T(0);
        thin<W>(plain(outer.out, W, w), theta4, logits, h, w);

        double loss = 0, error = 0;
        for (int o = 0; o < channels; o++) {
            double moved = 0;
            for (long p = 0; p < pixels; p++) {
                const long i = o * pixels + p;
                const T x = 1 / (1 + std::exp(-(logits[p * 4 + o] + bias.value[o])));
                const T s = run->has_outliers ? run->g[i] * run->g[i] - run->h[i] * run->h[i] : T(0);
                const T r = x + s - run->y[i], off = x - run->clean[i];
                run->output[i] = x;
                loss += run->is_l1 ? std::abs(r) : r * r;
                error += off * off;
                const T slope = (run->is_l1 ? T((r > 0) - (r < 0)) : 2 * r) / T(values);
                logits[p * 4 + o] = slope * x * (1 - x);
                moved += logits[p * 4 + o];
                if (run->has_outliers) {
                    const T change = T(run->rate) * r;
                    run->g[i] -= change * run->g[i];
                    run->h[i] += change * run->h[i];
                }
            }
            bias.gradient[o] = T(moved);
        }
        *run->loss = T(loss / values);
        if (T(error / values) < *run->least) {
            *run->least = T(error / values);
            std::memcpy(run->best, run->output, values * sizeof(T));
        }

        const Map to = plain(outer.dout, W, w);
        thin_gradient<W, false>(plain(outer.out, W, w), theta4, logits, dhead4, &to, h, w);
        for (int y = 0; y < h; y++) outer.see_back(y);
        for (int c = 0; c < W; c++)
            for (int o = 0; o < channels; o++) head.gradient[c * channels + o] = dhead4[c * 4 + o];
        outer.backward<INPUTS>(true);
        for (const Parameter &p : parameters)
            for (long i = 0; i < p.size; i++) p.value[i] -= T(run->tau) * p.gradient[i];
    }
#ifdef __SSE2__
    _mm_setcsr(state);
#endif
    T *back = run->parameters;
    for (const Parameter &p : parameters) std::memcpy(back, p.value, p.size * sizeof(T)), back += p.size;
    munmap(arena.base, arena.used);
    return 0;
}
}
