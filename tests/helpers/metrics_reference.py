"""An independent implementation of the eight metrics of Table 2, in plain float64 NumPy and SciPy.

The tests and the benchmark compare `edmf_jax.metrics` with it.  It is written from the formulas of the toolbox, without
padding, jit or centered windows.  Pictures are uint8 `[H, W]`; every function returns a float.
"""

import numpy as np
from scipy.ndimage import correlate1d


def gaussian(size, sigma):
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def smooth(x, weights, valid):
    """Separable correlation with replicated borders; `valid` keeps only the windows that lie inside."""
    x = correlate1d(correlate1d(x, weights, axis=0, mode="nearest"), weights, axis=1, mode="nearest")
    r = len(weights) // 2
    return x[r : x.shape[0] - r, r : x.shape[1] - r] if valid else x


def entropy_of(counts):
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def en(a, b, f):
    return entropy_of(np.bincount(f.ravel(), minlength=256))


def mi(a, b, f, saturate=True):
    top = 254 if saturate else 255
    value = 0.0
    for x in (a, b):
        index = np.minimum(x, top).astype(np.int64) * 256 + np.minimum(f, top)
        joint = np.bincount(index.ravel(), minlength=65536)
        value += en(a, b, x) + en(a, b, f) - entropy_of(joint)
    return value


def sf(a, b, f):
    f = f.astype(np.float64)
    return float(np.sqrt(np.mean(np.diff(f, axis=0) ** 2) + np.mean(np.diff(f, axis=1) ** 2)))


def ag(a, b, f):
    gy, gx = np.gradient(f.astype(np.float64))
    return float(np.sqrt((gx**2 + gy**2) / 2).sum() / ((f.shape[0] - 1) * (f.shape[1] - 1)))


def psnr(a, b, f):
    a, b, f = (x / 255.0 for x in (a, b, f))
    mse = 0.5 * np.mean((f - a) ** 2) + 0.5 * np.mean((f - b) ** 2)
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(255 / np.sqrt(mse)))


def ssim_pair(x, y, peak=1.0, valid=False):
    x, y = x.astype(np.float64), y.astype(np.float64)
    w, c1, c2 = gaussian(11, 1.5), (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mx, my = smooth(x, w, valid), smooth(y, w, valid)
    vx, vy = smooth(x * x, w, valid) - mx**2, smooth(y * y, w, valid) - my**2
    cov = smooth(x * y, w, valid) - mx * my
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


def ssim(a, b, f, peak=1.0, valid=False):
    return 0.5 * ssim_pair(f, a, peak, valid) + 0.5 * ssim_pair(f, b, peak, valid)


def vifp(ref, dist):
    ref, dist = ref.astype(np.float64), dist.astype(np.float64)
    num = den = 0.0
    for scale, n in enumerate((17, 9, 5, 3)):
        w = gaussian(n, n / 5)
        if scale:
            ref, dist = smooth(ref, w, True)[::2, ::2], smooth(dist, w, True)[::2, ::2]
        m1, m2 = smooth(ref, w, True), smooth(dist, w, True)
        s1 = np.maximum(smooth(ref * ref, w, True) - m1**2, 0)
        s2 = np.maximum(smooth(dist * dist, w, True) - m2**2, 0)
        s12 = smooth(ref * dist, w, True) - m1 * m2
        g = s12 / (s1 + 1e-10)
        sv = s2 - g * s12
        g[s1 < 1e-10], sv[s1 < 1e-10] = 0, s2[s1 < 1e-10]
        s1[s1 < 1e-10] = 0
        g[s2 < 1e-10], sv[s2 < 1e-10] = 0, 0
        sv[g < 0] = s2[g < 0]
        g[g < 0] = 0
        sv[sv <= 1e-10] = 1e-10
        num += np.log10(1 + g**2 * s1 / (sv + 2)).sum()
        den += np.log10(1 + s1 / 2).sum()
    return float(num / den)


def vif(a, b, f):
    return vifp(a, f) + vifp(b, f)


def edges(x):
    p = np.pad(x.astype(np.float64), 1)
    columns = p[:-2] + 2 * p[1:-1] + p[2:]
    rows = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    sx, sy = columns[:, 2:] - columns[:, :-2], rows[:-2] - rows[2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(sx == 0, np.pi / 2, np.arctan(sy / sx))
    return np.sqrt(sx**2 + sy**2), angle


def qabf(a, b, f, textbook=False):
    gf, af = edges(f)
    num = den = 0.0
    for x in (a, b):
        gx, ax = edges(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.minimum(gx, gf) / np.maximum(gx, gf)
        g = np.where(gx == gf, 1.0 if textbook else gf, g)
        turn = np.abs(ax - af) / (np.pi / 2)
        alignment = np.abs(turn - 1) if textbook else 1 - turn
        q = 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (alignment - 0.8)))
        num += (q * gx).sum()
        den += gx.sum()
    return float(num / den)


TABLE_2 = {"EN": en, "MI": mi, "SF": sf, "VIF": vif, "Qabf": qabf, "SSIM": ssim, "AG": ag, "PSNR": psnr}
