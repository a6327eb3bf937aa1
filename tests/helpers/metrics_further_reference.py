"""An independent implementation of Q_Y, Q_CB, Q_P, FMI and MEF-SSIM, in plain float64 NumPy and SciPy.

The tests compare `edmf_jax.metrics` with it.  It is written from the definitions, pixel by pixel or with Fourier
transforms of the full size, and is slow.  Pictures are uint8 `[H, W]`; every function returns a float.
"""

import numpy as np
from scipy.ndimage import correlate

from tests.helpers.metrics_reference import gaussian, smooth


def qy(a, b, f):
    w = gaussian(7, 1.5)
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    mean = {i: smooth(x, w, True) for i, x in enumerate((a, b, f))}
    planes = (a, b, f)

    def cov(i, j):
        value = smooth(planes[i] * planes[j], w, True) - mean[i] * mean[j]
        return np.where(np.abs(value) < 1e-9, 0, value)  # rounding of flat windows

    def similarity(i, j):
        c = 2e-16
        light = (2 * mean[i] * mean[j] + c) / (mean[i] ** 2 + mean[j] ** 2 + c)
        return light * (2 * cov(i, j) + c) / (cov(i, i) + cov(j, j) + c)

    both = cov(0, 0) + cov(1, 1)
    share = np.where(both == 0, 0.5, cov(0, 0) / np.where(both == 0, 1, both))
    agree = share * similarity(0, 2) + (1 - share) * similarity(1, 2)
    return np.where(similarity(0, 1) >= 0.75, agree, np.maximum(similarity(0, 2), similarity(1, 2))).mean()


def qcb(a, b, f):
    h, w = a.shape
    v, u = np.meshgrid(np.fft.fftfreq(h) * h / 15, np.fft.fftfreq(w) * w / 15, indexing="ij")
    r = np.hypot(u, v)
    sensitivity = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    y, x = np.mgrid[-15:16, -15:16]

    def contrast(picture):
        p = picture.astype(np.float64)
        p = np.floor((p - p.min()) / (p.max() - p.min()) * 255 + 0.5)
        seen = np.fft.ifft2(np.fft.fft2(p) * sensitivity).real
        blurred = []
        for sigma in (2, 4):
            g = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
            blurred.append(correlate(seen, g, mode="constant"))
        c = np.abs(blurred[0] / blurred[1] - 1)
        return c**3 / (c**2 + 1e-4)

    ca, cb, cf = contrast(a), contrast(b), contrast(f)
    qa, qb = (np.minimum(c, cf) / np.maximum(c, cf) for c in (ca, cb))
    share = ca**2 / (ca**2 + cb**2)
    return (share * qa + (1 - share) * qb).mean()


def phase_congruency(picture):
    h, w = picture.shape
    axis = lambda n: (np.arange(n) - n // 2) / (n - n % 2)
    x, y = np.meshgrid(axis(w), axis(h))
    radius = np.hypot(x, y)
    radius[h // 2, w // 2] = 1
    theta = np.arctan2(-y, x)
    low = 1 / (1 + (np.hypot(*np.meshgrid((np.arange(w) - w // 2) / w, (np.arange(h) - h // 2) / h)) / 0.45) ** 30)
    radius, theta, low = (np.fft.ifftshift(t) for t in (radius, theta, low))
    spectrum = np.fft.fft2(picture.astype(np.float64))
    eps = 1e-4
    energies, amplitudes, moments = 0, 0, np.zeros((3, h, w))
    for o in range(6):
        angle = o * np.pi / 6
        turn = np.abs(np.arctan2(np.sin(theta - angle), np.cos(theta - angle)))
        spread = np.exp(-(turn**2) / (2 * (np.pi / 6 / 1.2) ** 2))
        filters = []
        for s in range(4):
            gabor = np.exp(-(np.log(radius * 3 * 2.1**s) ** 2) / (2 * np.log(0.55) ** 2)) * low
            gabor[0, 0] = 0
            filters.append(gabor * spread)
        answers = [np.fft.ifft2(spectrum * g) for g in filters]
        total = sum(answers)
        mean_phase = total / (np.abs(total) + eps)
        energy = sum((r * mean_phase.conj()).real - np.abs((r * mean_phase.conj()).imag) for r in answers)
        even = [np.fft.ifft2(g).real * np.sqrt(h * w) for g in filters]
        power = np.median(np.abs(answers[0]) ** 2) / np.log(2) / (filters[0] ** 2).sum()
        squares = sum((g**2).sum() for g in even)
        products = sum((even[i] * even[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * power * squares + 4 * power * products) / 2)
        energy = np.maximum(energy - (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7, 0)
        amplitude = sum(np.abs(r) for r in answers)
        width = amplitude / (np.max([np.abs(r) for r in answers], axis=0) + eps) / 4
        energy = energy / (1 + np.exp((0.5 - width) * 10))
        energies, amplitudes = energies + energy, amplitudes + amplitude
        cx, cy = energy / amplitude * np.cos(angle), energy / amplitude * np.sin(angle)
        moments += np.stack([cx**2, cy**2, cx * cy])
    xx, yy, xy = moments[0] / 3, moments[1] / 3, moments[2] / 6
    root = np.sqrt(xy**2 + (xx - yy) ** 2) + eps
    return energies / (amplitudes + eps), (xx + yy + root) / 2, (xx + yy - root) / 2


def qp(a, b, f):
    pa, pb, pf = phase_congruency(a), phase_congruency(b), phase_congruency(f)
    first = pa[0] > pb[0]
    best = [np.where(first, s, t) for s, t in zip(pa, pb)]
    masks = [p[0] > 0.1 for p in (pa, pb, best)]
    window = np.outer(gaussian(11, 1.5), gaussian(11, 1.5))
    blur = lambda x: correlate(x, window, mode="constant")
    value = 1.0
    for i in range(3):
        found = []
        for p, mask in zip((pa, pb, best), masks):
            x, y = p[i] * mask, pf[i]
            cov = blur(x * y) - blur(x) * blur(y)
            vx, vy = blur(x * x) - blur(x) ** 2, blur(y * y) - blur(y) ** 2
            found.append(np.where(mask, (cov + 1e-4) / (np.sqrt(np.abs(vx * vy)) + 1e-4), 0))
        value *= np.max(found, axis=0).sum() / masks[2].sum()
    return value


def fmi(a, b, f, feature=None):
    if feature is not None:
        a, b, f = (feature(x.astype(np.float64)) for x in (a, b, f))
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    values = []
    for i in range(a.shape[0] - 2):
        for j in range(a.shape[1] - 2):
            cut = [x[i : i + 3, j : j + 3].ravel(order="F") for x in (a, b, f)]
            values.append((shared_information(cut[0], cut[2]) + shared_information(cut[1], cut[2])) / 2)
    return np.mean(values)


def shared_information(x, y):
    if (x == y).all():
        return 1.0
    flat = x.min() == x.max() or y.min() == y.max()
    p, q = (np.ones(9) / 9 if t.min() == t.max() else (t - t.min()) / (t - t.min()).sum() for t in (x, y))
    r = 0.0 if flat else np.corrcoef(p, q)[0, 1]
    place = np.arange(1, 10)
    sp, sq = (np.sqrt(max((place**2 * t).sum() - (place * t).sum() ** 2, 0)) for t in (p, q))
    cp, cq = np.append(0, np.cumsum(p)), np.append(0, np.cumsum(q))
    bound = np.maximum(cp[:, None] + cq - 1, 0) if r < 0 else np.minimum(cp[:, None], cq)
    cov = (bound - np.outer(cp, cq)).sum()
    share = r * sp * sq / cov if r != 0 and sp > 1e-7 and sq > 1e-7 else 0.0
    joint = share * np.diff(np.diff(bound, axis=0), axis=1) + (1 - share) * np.outer(p, q)
    entropy = lambda t: -(t[t != 0] * np.log2(np.abs(t[t != 0]))).sum()
    marginal = entropy(p) + entropy(q)
    return 2 * (marginal - entropy(joint)) / marginal if marginal > 0 else 0.0


def mef_ssim(a, b, f):
    window = np.outer(gaussian(11, 1.5), gaussian(11, 1.5)).ravel()
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            va, vb, vf = (x[i : i + 11, j : j + 11].ravel() for x in (a, b, f))
            va, vb = va - va.mean(), vb - vb.mean()
            na, nb = np.linalg.norm(va), np.linalg.norm(vb)
            eps = np.finfo(float).eps
            consistency = min((np.linalg.norm(va + vb) + eps) / (na + nb + eps), 1 - eps)
            p = min(np.tan(np.pi / 2 * consistency), 10)
            ca, cb = na + 0.001, nb + 0.001
            wa, wb = (ca / 11) ** p + eps, (cb / 11) ** p + eps
            r = wa / (wa + wb) * va / ca + wb / (wa + wb) * vb / cb
            if np.linalg.norm(r) > 0:
                r = r / np.linalg.norm(r) * max(ca, cb)
            mr, mf = (window * r).sum(), (window * vf).sum()
            vr, vv = (window * (r - mr) ** 2).sum(), (window * (vf - mf) ** 2).sum()
            cov = (window * (r - mr) * (vf - mf)).sum()
            c = (0.03 * 255) ** 2
            values.append((2 * cov + c) / (vr + vv + c))
    return np.mean(values)
