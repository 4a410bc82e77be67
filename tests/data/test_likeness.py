"""What likeness is computed with: its matrices, and work that pairs have in common."""

import numpy as np

from shoebox.data import likeness


def test_no_blur_holds_numbers_that_processors_are_slow_with():
    for sigma in (0.5, 1.0, 2.5, 3.0, 10.0):
        blur = likeness._blur(sigma)
        np.testing.assert_allclose(blur.sum(1), 1, rtol=1e-5)
        assert not ((blur != 0) & (np.abs(blur) < np.finfo(np.float32).tiny)).any()


def smooth(draw, count):
    """Thumbnails of a few waves, so that moving one by a pixel leaves it alike."""
    rows, columns = np.mgrid[:40, :40] / 40
    phases = draw.uniform(0, 2 * np.pi, (count, 2, 1, 1))
    waves = np.sin(18 * rows + phases[:, 0]) + np.sin(23 * columns + 9 * rows + phases[:, 1])
    return (127 + 50 * waves + draw.normal(0, 6, waves.shape)).clip(0, 255).astype(np.uint8)


def test_pairs_that_share_a_picture_score_as_they_do_alone():
    large = smooth(np.random.default_rng(0), 6)
    first, moved = large[:, 4:36, 4:36], large[:, 5:37, 3:35]
    one, other = first.repeat(6, axis=0), np.concatenate([moved, moved[::-1]] * 3)
    together = likeness.likeness(one, other)
    alone = [likeness.likeness(a[None], b[None])[0] for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert (together > 0.9).any()
    assert (together < 0.5).any()


def test_what_is_alike_is_promising_and_what_has_nothing_in_common_is_not():
    large = smooth(np.random.default_rng(3), 60)
    plain, moved = large[:, 4:36, 4:36], large[:, 5:37, 3:35]
    thumbs = np.concatenate([plain, moved, moved[:, :, ::-1]])
    numbers = np.arange(60)
    pairs = np.concatenate(
        [np.stack([numbers, other], 1) for other in (numbers + 60, numbers + 120, np.roll(numbers, 1) + 60)]
    )
    mirrored = np.repeat([False, True, False], 60)
    score = likeness.likeness(thumbs[pairs[:, 0]], np.concatenate([moved, moved, np.roll(moved, 1, axis=0)]))
    worth = likeness.promising(likeness.details(thumbs), pairs, mirrored)
    assert score[:120].min() > 0.93
    assert worth[:120].all()
    assert not worth[score < 0.6].any()
    assert (score < 0.6).sum() > 30
    np.testing.assert_array_equal(likeness.promising(likeness.details(thumbs), pairs[:0], mirrored[:0]), [])


def test_a_least_score_spares_work_and_changes_none_above_it(monkeypatch):
    large = smooth(np.random.default_rng(4), 200)
    first, moved = large[:, 4:36, 4:36], large[:, 3:35, 6:38]
    share = np.linspace(0, 1, 200)[:, None, None]  # of another picture, laid over the moved one
    mixed = ((1 - share) * moved + share * np.roll(moved, 1, axis=0)).astype(np.uint8)
    aligned, pairs = likeness._aligned, []

    def counted(source, target, motion):
        pairs.append(len(source))
        return aligned(source, target, motion)

    monkeypatch.setattr(likeness, "_aligned", counted)
    exact = likeness.likeness(first, mixed)
    all_pairs = sum(pairs)
    pairs.clear()
    quick = likeness.likeness(first, mixed, 0.93)
    assert sum(pairs) < all_pairs
    assert (exact >= 0.93).sum() > 20
    np.testing.assert_array_equal(exact[exact >= 0.93], quick[exact >= 0.93])
    assert (quick <= exact).all()


def test_descriptors_have_the_same_signs_whatever_the_library_gives(monkeypatch):
    thumbs = smooth(np.random.default_rng(1), 80)[:, :32, :32]
    plain, mirrored = likeness.descriptors(thumbs)
    eigh = np.linalg.eigh

    def other_way(matrix):
        values, vectors = eigh(matrix)
        return values, -vectors

    monkeypatch.setattr(np.linalg, "eigh", other_way)
    again = likeness.descriptors(thumbs)
    np.testing.assert_array_equal(again[0], plain)
    np.testing.assert_array_equal(again[1], mirrored)


def test_descriptors_of_the_mirrored_are_those_of_the_pictures_mirrored():
    thumbs = smooth(np.random.default_rng(2), 80)[:, :32, :32]
    plain, mirrored = likeness.descriptors(thumbs)
    other_plain, other_mirrored = likeness.descriptors(thumbs[:, :, ::-1])
    np.testing.assert_allclose(mirrored, other_plain, atol=1e-3)
    np.testing.assert_allclose(plain, other_mirrored, atol=1e-3)
